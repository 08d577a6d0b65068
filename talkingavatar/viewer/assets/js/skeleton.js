/** Joint transforms of one frame, on the CPU: tens of rotations in a chain. */

/** @typedef {import('./avatar.js').Avatar} Avatar */

export class Skeleton {
  /** @param {Avatar} avatar */
  constructor(avatar) {
    this.parents = avatar.manifest.parents;
    this.rest = avatar.values('rest_joints') ?? new Float32Array(0);
    this.moved = avatar.values('rest_joints.expression');
    this.anchor = avatar.values('anchor') ?? Float32Array.of(1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0);
    this.follow = (avatar.values('anchor.follow') ?? [1])[0];
    const count = this.parents.length;
    this.turns = new Float32Array(9 * count); // of each joint against its parent
    this.world = new Float32Array(12 * count); // [rotation | place]
    this.joints = new Float32Array(3 * count); // at rest, with this expression
    /** What carries resting points into the world: rows of (J + 1, 3, 4), the anchor's last. */
    this.transforms = new Float32Array(12 * (count + 1));
  }

  /**
   * @param {Float32Array} quats (J, 4) w x y z, of any length
   * @param {Float32Array} transl metres
   * @param {Float32Array} expression
   */
  set(quats, transl, expression) {
    this.#restingJoints(expression);
    for (let j = 0; j < this.parents.length; j++) {
      rotation(quats, 4 * j, this.turns, 9 * j);
      this.#chain(j);
      this.#carry(j, transl);
    }
    const last = 12 * this.parents.length;
    this.transforms.set(this.anchor, last);
    for (let i = 0; i < 3; i++) this.transforms[last + 4 * i + 3] += this.follow * transl[i];
  }

  #restingJoints(expression) {
    this.joints.set(this.rest);
    if (!this.moved) return;
    const count = expression.length;
    for (let i = 0; i < this.joints.length; i++) {
      for (let e = 0; e < count; e++) this.joints[i] += this.moved[i * count + e] * expression[e];
    }
  }

  /** World rotation and place of a joint whose parent has its own. */
  #chain(j) {
    const {world, turns, joints} = this;
    const parent = this.parents[j];
    for (let r = 0; r < 3; r++) {
      const to = 12 * j + 4 * r;
      if (parent < 0) {
        for (let c = 0; c < 3; c++) world[to + c] = turns[9 * j + 3 * r + c];
        world[to + 3] = joints[3 * j + r];
        continue;
      }
      const above = 12 * parent + 4 * r;
      for (let c = 0; c < 3; c++) {
        world[to + c] = 0;
        for (let k = 0; k < 3; k++) world[to + c] += world[above + k] * turns[9 * j + 3 * k + c];
      }
      world[to + 3] = world[above + 3];
      for (let k = 0; k < 3; k++) world[to + 3] += world[above + k] * (joints[3 * j + k] - joints[3 * parent + k]);
    }
  }

  #carry(j, transl) {
    for (let r = 0; r < 3; r++) {
      const at = 12 * j + 4 * r;
      let place = this.world[at + 3] + transl[r];
      for (let c = 0; c < 3; c++) {
        this.transforms[at + c] = this.world[at + c];
        place -= this.world[at + c] * this.joints[3 * j + c];
      }
      this.transforms[at + 3] = place;
    }
  }
}

/** The 3x3 of the quaternion at `from`, row by row, to `to`. */
function rotation(quats, from, out, to) {
  const length = Math.hypot(quats[from], quats[from + 1], quats[from + 2], quats[from + 3]) || 1;
  const [w, x, y, z] = quats.subarray(from, from + 4).map((value) => value / length);
  out.set([
    1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
    2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
    2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
  ], to);
}
