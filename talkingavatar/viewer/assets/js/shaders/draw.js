/** GLSL that turns Gaussians in the world into pixels, as `talkingavatar.splatting.plain` does. */

import {HEAD, PASS} from './common.js';

// As in talkingavatar/splatting/conventions.py, where they are explained.
export const CONVENTIONS = {
  NEAR: 0.01,
  FAR: 1e10,
  ALPHA_MIN: 1 / 255,
  ALPHA_MAX: 0.999,
  EXTENT: 3.33,
  BLUR_3DGS: 0.3,
  FILTER_2DGS: 2.0,
  FOV_MARGIN: 0.15,
};
const LEAST_SCALE = 1e-12; // metres: of an axis that has a direction
const WIDEST = 32767; // pixels, of a radius: two of them are kept in one number
const SURFEL = 0x80000000; // the bit that tells a surfel from an ellipsoid

const constants = Object.entries(CONVENTIONS).map(([name, value]) => `const float ${name} = ${value.toExponential()};`);

/** What one camera sees of each Gaussian: where, how large, how deep, in which colour; nothing of most that it does not. */
export const project = (surfels) => `${PASS}
${constants.join('\n')}
uniform usampler2D place, axis0, axis1, axis2;
uniform sampler2D splats, harmonics;
uniform int from, count, bands;        // first texel of the instance, its Gaussians, its harmonics
uniform int texels;                    // of a Gaussian in \`splats\`
uniform mat4 viewmat;
uniform vec4 K;                        // fx fy cx cy, pixels
uniform vec2 size;                     // of the picture, pixels
uniform vec3 eye, stands;              // the camera; where the avatar was put, metres
uniform float away;                    // cosine from which a back is turned to the camera; 2: never
uniform float behind;                  // metres by which what lies inside is drawn deeper
layout(location = 0) out uvec4 screen;  // centre, pixels; radii and kind; opacity
layout(location = 1) out uvec4 look;    // colour, depth
layout(location = 2) out uvec4 shape0;  // conic, or the ray transform
layout(location = 3) out uvec4 shape1;

// The basis of geometry/spherical_harmonics.py, by fours.
vec4 basis(int four, vec3 d) {
  float x = d.x, y = d.y, z = d.z, xx = x * x, yy = y * y, zz = z * z;
  if (four == 0) return vec4(0.28209479177387814, -0.48860251190292 * y, 0.48860251190292 * z, -0.48860251190292 * x);
  if (four == 1) return vec4(1.092548430592079 * x * y, -1.092548430592079 * y * z,
    0.9461746957575601 * zz - 0.3153915652525201, -1.092548430592079 * x * z);
  if (four == 2) return vec4(0.5462742152960395 * (xx - yy), -0.5900435899266435 * y * (3.0 * xx - yy),
    2.890611442640554 * x * y * z, y * (0.4570457994644658 - 2.285228997322329 * zz));
  return vec4(z * (1.865881662950577 * zz - 1.119528997770346), x * (0.4570457994644658 - 2.285228997322329 * zz),
    1.445305721320277 * z * (xx - yy), -0.5900435899266435 * x * (xx - 3.0 * yy));
}

vec3 colour(int splat, vec3 constant, vec3 towards) {
  vec3 sum = 0.28209479177387814 * constant + 0.5;
  int fours = (bands + 3) / 4;
  for (int four = 0; four < fours && bands > 1; four++) {
    vec4 values = basis(four, towards);
    for (int c = 0; c < 3; c++) sum[c] += dot(values, texelFetch(harmonics, at((3 * splat + c) * fours + four), 0));
  }
  return max(sum, 0.0);
}

// Of a surfel: (u, v, 1) on it to homogeneous pixels, row by row; extents of its 3.33 standard deviations.
void flat_(vec3 mean, mat3 axes, out vec2 centre, out vec2 radii, out mat3 rows) {
  mat3 onScreen = mat3(K.x, 0, 0, 0, K.y, 0, K.zw, 1) * mat3(axes[0], axes[1], mean);
  rows = transpose(onScreen);
  float norm = dot(vec3(1, 1, -1), rows[2] * rows[2]);
  vec3 f = vec3(1, 1, -1) / (norm == 0.0 ? 1.0 : norm);
  centre = vec2(dot(f, rows[0] * rows[2]), dot(f, rows[1] * rows[2]));
  vec2 extent = centre * centre - vec2(dot(f, rows[0] * rows[0]), dot(f, rows[1] * rows[1]));
  radii = norm == 0.0 ? vec2(0) : ceil(EXTENT * sqrt(max(extent, 1e-4)));
}

// Of an ellipsoid: conic (inverse of the projected covariance) in the first row.
void round_(vec3 mean, mat3 axes, float opacity, out vec2 centre, out vec2 radii, out mat3 rows) {
  vec2 low = -K.zw / K.xy - FOV_MARGIN * size / K.xy, high = (size - K.zw) / K.xy + FOV_MARGIN * size / K.xy;
  vec2 t = clamp(mean.xy / mean.z, low, high);
  vec3 first = vec3(K.x, 0, -K.x * t.x) / mean.z, second = vec3(0, K.y, -K.y * t.y) / mean.z;
  vec3 m0 = first * axes, m1 = second * axes;
  float a = dot(m0, m0) + BLUR_3DGS, b = dot(m0, m1), c = dot(m1, m1) + BLUR_3DGS;
  float determinant = a * c - b * b;
  centre = K.xy * mean.xy / mean.z + K.zw;
  float reach = min(sqrt(2.0 * log(max(opacity / ALPHA_MIN, 1.0))), EXTENT);
  radii = determinant > 0.0 ? ceil(reach * sqrt(vec2(a, c))) : vec2(0);
  rows = mat3(vec3(c, -b, a) / determinant, vec3(0), vec3(0));
}

void main() {
  screen = look = shape0 = shape1 = uvec4(0);
  int splat = here() - from;
  if (splat >= count) return;
  vec4 first = floats(place, splat), x = floats(axis0, splat), y = floats(axis1, splat), z = floats(axis2, splat);
  float opacity = first.w;
  vec3 world = first.xyz + stands, sight = world - eye;
  int sides = int(texelFetch(splats, at(texels * splat + 2), 0).w);
  bool open = (sides & 1) != 0;
  vec3 normal = cross(x.xyz / max(length(x.xyz), ${LEAST_SCALE}), y.xyz / max(length(y.xyz), ${LEAST_SCALE}));
  if (!open && dot(normal, sight) >= away * length(sight)) return;
  float deeper = (sides & 2) != 0 ? 1.0 + behind / length(sight) : 1.0;  // and larger: it is seen where it was
  vec3 mean = deeper * (viewmat * vec4(world, 1)).xyz;
  if (!(mean.z > NEAR && mean.z < FAR) || opacity < ALPHA_MIN) return;
  mat3 axes = deeper * mat3(viewmat) * mat3(x.xyz, y.xyz, z.xyz);
  vec2 centre, radii;
  mat3 rows;
  ${surfels ? 'flat_(mean, axes, centre, radii, rows);' : 'round_(mean, axes, opacity, centre, radii, rows);'}
  if (any(lessThanEqual(radii, vec2(0))) || any(lessThanEqual(centre + radii, vec2(0)))
    || any(greaterThanEqual(centre - radii, size))) return;
  uvec2 whole = uvec2(min(radii, ${WIDEST}.0));
  uint kind = ${surfels ? `${SURFEL}u` : '0u'};
  vec3 seen = colour(splat, vec3(x.w, y.w, z.w), sight / max(length(sight), 1e-12));
  screen = uvec4(floatBitsToUint(centre), (whole.x << 16) | whole.y | kind, floatBitsToUint(opacity));
  look = floatBitsToUint(vec4(seen, mean.z));
  shape0 = floatBitsToUint(vec4(rows[0], rows[1].x));
  shape1 = floatBitsToUint(vec4(rows[1].yz, rows[2].xy));
}
`;

/** Four depths a texel, 0 of what is not seen. */
export const depths = `${PASS}
uniform usampler2D look;
out uvec4 four;
void main() {
  uvec4 found;
  for (int k = 0; k < 4; k++) found[k] = texelFetch(look, at(4 * here() + k), 0).w;
  four = found;
}
`;

/** A quad over what a Gaussian may reach; `order` tells which one. */
export const quads = `${HEAD}
${constants.join('\n')}
uniform usampler2D order, screen, look, shape0, shape1;
uniform vec2 size;
flat out uint surfel;
flat out vec2 centre;
flat out vec4 paint;
flat out mat3 rows;

// Corners of what a surfel reaches: its ellipse, and the disc of the screen-space filter.
vec2 overSurfel(vec2 corner, vec2 radii, float reach) {
  vec3 test = vec3(reach * reach, reach * reach, -1);
  float norm = dot(test, rows[2] * rows[2]);
  vec2 middle = centre, extent = radii;
  if (norm < 0.0) {  // else a part of it is behind the camera
    vec3 f = test / norm;
    middle = vec2(dot(f, rows[0] * rows[2]), dot(f, rows[1] * rows[2]));
    extent = sqrt(max(middle * middle - vec2(dot(f, rows[0] * rows[0]), dot(f, rows[1] * rows[1])), 0.0));
  }
  vec2 disc = centre + corner * reach / sqrt(FILTER_2DGS), box = middle + corner * extent;
  return mix(min(disc, box), max(disc, box), greaterThan(corner, vec2(0)));
}

// Corners of the rectangle round an ellipse, along its axes: the eigenvectors of its conic.
vec2 overEllipse(vec2 corner, vec2 radii, float reach) {
  float a = rows[0].x, b = rows[0].y, c = rows[0].z, apart = length(vec2(0.5 * (a - c), b));
  float larger = 0.5 * (a + c) + apart, smaller = max(a * c - b * b, 0.0) / larger;
  vec2 across = apart == 0.0 ? vec2(1, 0) : normalize(a > c ? vec2(larger - c, b) : vec2(b, larger - a));
  float wide = min(reach * inversesqrt(smaller), length(radii));  // of a needle, whose small one is lost in rounding
  return centre + corner.x * reach * inversesqrt(larger) * across + corner.y * wide * vec2(-across.y, across.x);
}

void main() {
  int splat = int(texelFetch(order, at(gl_VertexID >> 2), 0).x);
  uvec4 own = texelFetch(screen, at(splat), 0);
  vec4 seen = floats(look, splat), s0 = floats(shape0, splat), s1 = floats(shape1, splat);
  centre = uintBitsToFloat(own.xy);
  surfel = own.z >> 31;
  paint = vec4(seen.rgb, uintBitsToFloat(own.w));
  rows = mat3(s0.xyz, vec3(s0.w, s1.xy), vec3(s1.zw, seen.w));
  float reach = sqrt(2.0 * log(max(paint.a / ALPHA_MIN, 1.0)));
  vec2 corner = vec2(gl_VertexID & 1, (gl_VertexID >> 1) & 1) * 2.0 - 1.0;
  vec2 radii = vec2((own.z >> 16) & ${WIDEST}u, own.z & ${WIDEST}u);
  vec2 pixel = radii.x == 0.0 ? centre : surfel == 1u ? overSurfel(corner, radii, reach) : overEllipse(corner, radii, reach);
  gl_Position = vec4(2.0 * pixel / size - 1.0, 0, 1) * vec4(1, -1, 1, 1);
}
`;

/** Its colour times its share of a pixel; surfels where the line of sight meets them (2DGS eq. 8 to 11). */
export const splats = `${HEAD}
${constants.join('\n')}
uniform vec2 size;
flat in uint surfel;
flat in vec2 centre;
flat in vec4 paint;
flat in mat3 rows;
out vec4 colour;

float onSurfel(vec2 pixel, float onScreen) {
  vec3 hit = cross(pixel.x * rows[2] - rows[0], pixel.y * rows[2] - rows[1]);
  if (hit.z == 0.0) return -1.0;
  vec2 uv = hit.xy / hit.z;
  return min(dot(uv, uv), onScreen);
}

void main() {
  vec2 pixel = vec2(gl_FragCoord.x, size.y - gl_FragCoord.y), d = centre - pixel;
  float twice = surfel == 1u ? onSurfel(pixel, FILTER_2DGS * dot(d, d))
    : rows[0].x * d.x * d.x + rows[0].z * d.y * d.y + 2.0 * rows[0].y * d.x * d.y;
  float alpha = min(paint.a * exp(-0.5 * twice), ALPHA_MAX);
  if (twice < 0.0 || !(alpha >= ALPHA_MIN)) discard;
  colour = vec4(paint.rgb * alpha, alpha);
}
`;
