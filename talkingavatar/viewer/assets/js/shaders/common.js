/** GLSL that several passes share. */

import {WIDTH} from '../gl.js';

export const HEAD = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp usampler2D;

ivec2 at(int texel) { return ivec2(texel % ${WIDTH}, texel / ${WIDTH}); }
vec4 floats(usampler2D target, int texel) { return uintBitsToFloat(texelFetch(target, at(texel), 0)); }

// The rotation nearest to a blend of rotations: Gram-Schmidt on its columns.
mat3 orthonormalised(mat3 m) {
  vec3 x = normalize(m[0]);
  vec3 y = normalize(m[1] - dot(x, m[1]) * x);
  return mat3(x, y, cross(x, y));
}
`;

/** Of a pass over texels: its own number. */
export const PASS = `${HEAD}
int here() { return int(gl_FragCoord.y) * ${WIDTH} + int(gl_FragCoord.x); }
`;

/** Covers the viewport. */
export const WHOLE = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID == 1 ? 3 : -1, gl_VertexID == 2 ? 3 : -1), 0, 1); }
`;
