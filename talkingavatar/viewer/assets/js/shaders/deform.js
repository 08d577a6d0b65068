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

/**
 * Every Gaussian in the world: place, axes (columns of its rotation times its extents), opacity, constant coefficient.
 * @param {{skinned: boolean, residual: boolean}} parts
 */
export const gaussians = ({skinned, residual}) => `${PASS}
uniform sampler2D splats, frame;
${skinned ? 'uniform usampler2D first, second, third; uniform float near, far;' : ''}
${residual ? `uniform sampler2D residuals;
uniform int residual, coefficients;  // where in the frame, texels a group
uniform int changes, columns[14];    // how many attributes change, and which
uniform float most[14];` : ''}
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

${skinned ? `
// Adds what the skin does where the Gaussian stands.
void carry(inout vec3 mean, inout mat3 turn, inout vec3 scales) {
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
  mean += stretch * height + offset;
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
  vec3 scales = exp(logScales);
  mat3 turn = rotation(normalize(quat));
  ${skinned ? 'carry(mean, turn, scales);' : ''}
  mat3 linear = mat3(0);
  vec3 travel = vec3(0);
  for (int four = 0; four < 2; four++) {
    vec4 joints = own(7 + four), weights = own(9 + four);
    for (int k = 0; k < 4; k++) {
      if (weights[k] == 0.0) continue;
      int joint = 3 * int(joints[k]);
      vec4 x = texelFetch(frame, at(joint), 0), y = texelFetch(frame, at(joint + 1), 0);
      vec4 z = texelFetch(frame, at(joint + 2), 0);
      linear += weights[k] * transpose(mat3(x.xyz, y.xyz, z.xyz));
      travel += weights[k] * vec3(x.w, y.w, z.w);
    }
  }
  turn = orthonormalised(linear) * turn;
  place = floatBitsToUint(vec4(linear * mean + travel, 1.0 / (1.0 + exp(-logit))));
  axis0 = floatBitsToUint(vec4(scales.x * turn[0], colour.r));
  axis1 = floatBitsToUint(vec4(scales.y * turn[1], colour.g));
  axis2 = floatBitsToUint(vec4(scales.z * turn[2], colour.b));
}
`;
