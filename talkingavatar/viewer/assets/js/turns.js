/** Rotations: quaternions (w, x, y, z) and axis-angle. */

/** @param {number[]} v radians about each axis, together an axis-angle */
export function quatOf([x, y, z]) {
  const angle = Math.hypot(x, y, z);
  const scale = angle > 1e-9 ? Math.sin(angle / 2) / angle : 0.5;
  return [Math.cos(angle / 2), scale * x, scale * y, scale * z];
}

/** @param {ArrayLike<number>} q unit */
export function axisAngleOf(q) {
  const sign = q[0] < 0 ? -1 : 1;
  const sine = Math.hypot(q[1], q[2], q[3]);
  const scale = sine > 1e-9 ? (2 * Math.atan2(sine, sign * q[0])) / sine : 2;
  return [1, 2, 3].map((k) => sign * scale * q[k]);
}

/** First `b`, then `a`. */
export function product(a, b) {
  return [
    a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
    a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
    a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
    a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
  ];
}
