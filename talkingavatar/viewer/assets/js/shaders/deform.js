/** GLSL of the two passes that a frame's parameters run: over the skin's vertices, and over the Gaussians. */

import {PASS} from './common.js';

export const SKIN_TEXELS = 5; // of a vertex in the table `skin`: two tangents, their base, the normal
export const SPLAT_TEXELS = 12; // of a Gaussian in the table `splats`

/**
 * Offset of each vertex of the skin, and by how much its deformation gradient differs from one (as SkinGradient does).
 * @param {boolean} posed whether the skin has pose correctives
 */
export const skin = (posed) => `${PASS}
uniform sampler2D skin, basis, ${posed ? 'poses, ' : ''}frame;
uniform int stretched;                // vertices with a gradient; those after them have a pose offset alone
uniform int expression, expressions;  // where in the frame, and how many texels
uniform int pose, features;
layout(location = 0) out uvec4 first;   // offset, gradient 00
layout(location = 1) out uvec4 second;  // gradient 01 02 10 11, row and column
layout(location = 2) out uvec4 third;   // gradient 12 20 21 22

float product(sampler2D rows, int row, int start, int count) {
  float sum = 0.0;
  for (int k = 0; k < count; k++) {
    sum += dot(texelFetch(rows, at(row * count + k), 0), texelFetch(frame, at(start + k), 0));
  }
  return sum;
}

vec3 ofSkin(int vertex, int column) { return texelFetch(skin, at(${SKIN_TEXELS} * vertex + column), 0).xyz; }

void main() {
  int vertex = here();
  vec3 offset = vec3(0);
  mat3 change = mat3(0);
  if (vertex < stretched) {
    float c[9];
    for (int d = 0; d < 9; d++) c[d] = product(basis, 9 * vertex + d, expression, expressions);
    offset = vec3(c[0], c[1], c[2]);
    vec3 u = ofSkin(vertex, 2) + vec3(c[3], c[5], c[7]);
    vec3 v = ofSkin(vertex, 3) + vec3(c[4], c[6], c[8]);
    change = outerProduct(u, ofSkin(vertex, 0)) + outerProduct(v, ofSkin(vertex, 1))
      + outerProduct(normalize(cross(u, v)), ofSkin(vertex, 4)) - mat3(1);
  }
  ${posed ? 'for (int d = 0; d < 3; d++) offset[d] += product(poses, 3 * vertex + d, pose, features);' : ''}
  mat3 rows = transpose(change);
  first = floatBitsToUint(vec4(offset, rows[0].x));
  second = floatBitsToUint(vec4(rows[0].yz, rows[1].xy));
  third = floatBitsToUint(vec4(rows[1].z, rows[2]));
}
`;

const CARRIED = `
// Three rows of the affine map of eight carriers by their weights.
mat4 carried(vec4 joints[2], vec4 weights[2]) {
  mat4 rows = mat4(0);
  for (int n = 0; n < 8; n++) {
    float weight = weights[n / 4][n % 4];
    if (weight == 0.0) continue;
    int joint = 3 * int(joints[n / 4][n % 4]);
    for (int i = 0; i < 3; i++) rows[i] += weight * texelFetch(frame, at(joint + i), 0);
  }
  return rows;
}
`;

/** The affine map, by rows, of each node of a grid of skinning weights. */
export const nodes = `${PASS}
uniform sampler2D carriers, frame;  // of a node: eight joints, their weights
uniform int count;
layout(location = 0) out uvec4 row0;
layout(location = 1) out uvec4 row1;
layout(location = 2) out uvec4 row2;
${CARRIED}
vec4 own(int column) { return texelFetch(carriers, at(4 * here() + column), 0); }

void main() {
  if (here() >= count) { row0 = row1 = row2 = uvec4(0); return; }
  mat4 rows = carried(vec4[2](own(0), own(1)), vec4[2](own(2), own(3)));
  row0 = floatBitsToUint(rows[0]);
  row1 = floatBitsToUint(rows[1]);
  row2 = floatBitsToUint(rows[2]);
}
`;

/**
 * A layer of the network by which some Gaussians listen, four of its numbers of one Gaussian a texel.
 * @param {boolean} first whether it is the layer of what they hear
 */
export const dense = (first) => `${PASS}
uniform sampler2D layers${first ? ', ears, frame' : ''};
uniform ${first ? 'int heard' : 'usampler2D before'};  // where in the frame what is heard begins; the layer before
uniform int count, rows, columns;  // texels: all, and of a Gaussian going out and coming in
uniform int start, bias;           // of the layer's weights and its biases
uniform int rectified;
layout(location = 0) out uvec4 told;

${first ? `
vec4 ear(int gaussian, int column) { return texelFetch(ears, at((rows + columns) * gaussian + column), 0); }
vec4 own(int gaussian, int row) { return ear(gaussian, row); }
vec4 coming(int gaussian, int k) { return ear(gaussian, rows + k) * texelFetch(frame, at(heard + k), 0); }` : `
vec4 own(int gaussian, int row) { return texelFetch(layers, at(bias + row), 0); }
vec4 coming(int gaussian, int k) { return floats(before, columns * gaussian + k); }`}

void main() {
  if (here() >= count) { told = uvec4(0); return; }
  int gaussian = here() / rows, row = here() % rows;
  vec4 sums = own(gaussian, row);
  for (int k = 0; k < columns; k++) {
    vec4 x = coming(gaussian, k);
    int from = start + 4 * row * columns + k;
    for (int i = 0; i < 4; i++) sums[i] += dot(texelFetch(layers, at(from + i * columns), 0), x);
  }
  told = floatBitsToUint(rectified > 0 ? max(sums, 0.0) : sums);
}
`;

/**
 * Every Gaussian in the world: place, axes (columns of its rotation times its extents), opacity, constant coefficient.
 * @param {{skinned: boolean, residual: boolean, listener: boolean, grid: boolean}} parts
 */
export const gaussians = ({skinned, residual, listener, grid}) => `${PASS}
uniform sampler2D splats, frame;
${skinned ? 'uniform usampler2D first, second, third; uniform float near, far;' : ''}
${residual ? `uniform sampler2D residuals;
uniform int residual, coefficients;  // where in the frame, texels a group
uniform int changes, columns[14];    // how many attributes change, and which
uniform float most[14];` : ''}
${listener ? 'uniform usampler2D told;  // what the sound changes' : ''}
${grid ? `uniform usampler2D row0, row1, row2;  // maps of the grid's nodes
uniform sampler2D voxels;             // their numbers
uniform vec3 lower, voxel;            // place of the first; from one to the next
uniform ivec3 extent;` : ''}
uniform int count;
layout(location = 0) out uvec4 place;   // mean, opacity
layout(location = 1) out uvec4 axis0;   // and red
layout(location = 2) out uvec4 axis1;   // and green
layout(location = 3) out uvec4 axis2;   // and blue, of the constant coefficient

vec4 own(int column) { return texelFetch(splats, at(${SPLAT_TEXELS} * here() + column), 0); }

mat3 rotation(vec4 q) {
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}

${residual ? `
float changed(int row, int d, int start) {
  float sum = 0.0;
  for (int k = 0; k < coefficients; k++) {
    int from = (changes * row + d) * coefficients + k;
    sum += dot(texelFetch(residuals, at(from), 0), texelFetch(frame, at(start + k), 0));
  }
  return most[d] > 0.0 ? most[d] * tanh(clamp(sum, -15.0, 15.0)) : sum;  // beyond, some GPUs' tanh is no number
}

vec4 hamilton(vec4 a, vec4 b) {
  return vec4(a.x * b.x - dot(a.yzw, b.yzw), a.x * b.yzw + b.x * a.yzw + cross(a.yzw, b.yzw));
}` : ''}

${CARRIED}
${grid ? `
// What carries a Gaussian that has come there: between the nodes of eight voxels.
mat4 found(vec3 point) {
  vec3 spot = clamp((point - lower) / voxel, vec3(0), vec3(extent - 1));
  ivec3 low = min(ivec3(spot), extent - 2);
  vec3 upper = spot - vec3(low);
  mat4 rows = mat4(0);
  for (int corner = 0; corner < 8; corner++) {
    ivec3 step = ivec3(corner & 1, (corner >> 1) & 1, corner >> 2), there = low + step;
    vec3 parts = mix(1.0 - upper, upper, vec3(step));
    int number = (there.x * extent.y + there.y) * extent.z + there.z;
    int node = int(texelFetch(voxels, at(number / 4), 0)[number % 4]);
    rows += parts.x * parts.y * parts.z * mat4(floats(row0, node), floats(row1, node), floats(row2, node), vec4(0));
  }
  return rows;
}` : ''}

${skinned ? `
// Adds what the skin does where the Gaussian stands; displaced: without its stretch.
void carry(inout vec3 mean, inout mat3 turn, inout vec3 scales, out vec3 displaced) {
  vec3 height = mean - own(4).xyz;
  float nearness = clamp((far - length(height)) / (far - near), 0.0, 1.0);
  vec3 shares = own(5).xyz, corners = own(6).xyz, offset = vec3(0);
  mat3 stretch = mat3(0);
  bool moves = false;
  for (int k = 0; k < 3; k++) {
    if (corners[k] < 0.0) continue;
    int corner = int(corners[k]);
    vec4 a = floats(first, corner), b = floats(second, corner), c = floats(third, corner);
    offset += shares[k] * a.xyz;
    stretch += shares[k] * nearness * transpose(mat3(a.w, b.x, b.y, b.z, b.w, c.x, c.y, c.z, c.w));
    moves = true;
  }
  displaced = mean + offset;
  mean = displaced + stretch * height;
  if (!moves) return;
  mat3 axes = turn + stretch * turn;
  turn = orthonormalised(axes);
  scales *= abs(vec3(dot(turn[0], axes[0]), dot(turn[1], axes[1]), dot(turn[2], axes[2])));
}` : ''}

void main() {
  if (here() >= count) { place = axis0 = axis1 = axis2 = uvec4(0); return; }
  vec3 mean = own(0).xyz, logScales = own(2).xyz, colour = own(3).xyz;
  float logit = own(0).w;
  vec4 quat = own(1);
  ${residual ? `int row = int(own(3).w);
  if (row >= 0) {
    int start = residual + int(own(4).w) * coefficients;
    float c[14];
    for (int d = 0; d < 14; d++) c[d] = 0.0;
    for (int d = 0; d < changes; d++) c[columns[d]] = changed(row, d, start);
    mean += vec3(c[0], c[1], c[2]);
    quat += hamilton(own(11), vec4(c[3], c[4], c[5], c[6]));
    logScales += vec3(c[7], c[8], c[9]);
    colour += vec3(c[10], c[11], c[12]);
    logit += c[13];
  }` : ''}
  ${listener ? `int ear = int(own(6).w);
  if (ear >= 0) {
    vec4 a = floats(told, 3 * ear), b = floats(told, 3 * ear + 1), c = floats(told, 3 * ear + 2);
    mean += a.xyz;
    quat += vec4(a.w, b.xyz);
    logScales += min(vec3(b.w, c.xy), 0.6931472);  // MOST_WIDER of networks/baked.py
  }` : ''}
  vec3 scales = exp(logScales);
  mat3 turn = rotation(normalize(quat));
  vec3 displaced = mean;
  ${skinned ? 'carry(mean, turn, scales, displaced);' : ''}
  mat4 rows = carried(vec4[2](own(7), own(8)), vec4[2](own(9), own(10)));
  ${grid ? 'if (own(5).w > 0.0) rows += found(displaced);' : ''}
  mat3 linear = transpose(mat3(rows[0].xyz, rows[1].xyz, rows[2].xyz));
  vec3 travel = vec3(rows[0].w, rows[1].w, rows[2].w);
  turn = orthonormalised(linear) * turn;
  place = floatBitsToUint(vec4(linear * mean + travel, 1.0 / (1.0 + exp(-logit))));
  axis0 = floatBitsToUint(vec4(scales.x * turn[0], colour.r));
  axis1 = floatBitsToUint(vec4(scales.y * turn[1], colour.g));
  axis2 = floatBitsToUint(vec4(scales.z * turn[2], colour.b));
}
`;
