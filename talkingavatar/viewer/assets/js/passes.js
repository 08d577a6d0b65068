/** One avatar on the GPU: its tables, and the passes that carry its Gaussians into the world. */

import {Program, Target, table} from './gl.js';
import {WHOLE} from './shaders/common.js';
import {SKIN_TEXELS, SPLAT_TEXELS, dense, gaussians, nodes, skin} from './shaders/deform.js';
import {Skeleton} from './skeleton.js';

/** @typedef {import('./avatar.js').Avatar} Avatar */
/** @typedef {{quats: Float32Array, transl: Float32Array, expression: Float32Array, residual: Float32Array}} Frame */

const JOINTS = 8; // at most, that carry a Gaussian
const NEVER = 2; // a cosine that no angle has

export class Instance {
  /**
   * @param {Avatar} avatar
   * @param {number[]} place metres by which it is moved aside
   */
  constructor(avatar, place = [0, 0, 0]) {
    this.avatar = avatar;
    this.place = place;
    this.skeleton = new Skeleton(avatar);
    const {arrays} = avatar;
    this.shape = {
      count: avatar.count,
      bands: arrays['gaussians.sh'].shape[1],
      rows: avatar.has('skin.shares') ? (arrays['pose.basis'] ?? arrays['skin.basis']).shape[0] : 0,
      stretched: arrays['skin.basis']?.shape[0] ?? 0,
      surfels: avatar.manifest.mode === '2dgs',
      listeners: arrays['listener.rows']?.shape[0] ?? 0,
      hidden: Math.ceil((arrays['listener.places']?.shape[1] ?? 0) / 4), // texels of a layer
      channels: Math.ceil((arrays['listener.ears']?.shape[1] ?? 0) / 4), // of what is heard
      nodes: arrays['grid.joints']?.shape[0] ?? 0,
      away: avatar.has('gaussians.open_sided') ? avatar.manifest.away : NEVER,
      behind: avatar.manifest.behind ?? 0,
    };
    this.firsts = [...new Set(avatar.values('residual.first') ?? [0])];
    this.#layFrame();
    this.setFrame(avatar.restingFrame());
  }

  /** @param {Partial<Frame>} frame what is left out stays as it was */
  setFrame(frame) {
    this.frame = {...this.frame, ...frame};
    this.changed = true;
  }

  /**
   * Put everything on the GPU; again after a context was lost.
   * @param {WebGL2RenderingContext} gl
   */
  build(gl) {
    const {avatar, shape, spans} = this;
    this.gl = gl;
    this.tables = {splats: table(gl, splatTable(avatar, this.firsts))};
    this.tables.frame = table(gl, this.numbers);
    if (shape.bands > 1) this.tables.harmonics = table(gl, harmonicsTable(avatar));
    const basis = (name, columns) => (this.tables[name] = table(gl, padded(avatar, columns)));
    if (avatar.has('residual.basis')) basis('residuals', 'residual.basis');
    if (shape.rows) {
      const posed = avatar.has('pose.basis');
      this.tables.skin = table(gl, skinTable(avatar));
      basis('basis', 'skin.basis');
      if (posed) basis('poses', 'pose.basis');
      this.skinProgram = new Program(gl, WHOLE, skin(posed));
      this.skinTarget = new Target(gl, shape.rows, 3);
    }
    if (shape.nodes) {
      this.tables.carriers = table(gl, carriersTable(avatar, 'grid', shape.nodes));
      this.tables.voxels = table(gl, voxelTable(avatar));
      this.nodeProgram = new Program(gl, WHOLE, nodes);
      this.nodeTarget = new Target(gl, shape.nodes, 3);
    }
    if (shape.listeners) {
      const {hidden, channels} = shape;
      this.tables.ears = table(gl, earsTable(avatar, hidden, channels));
      this.tables.layers = table(gl, layersTable(avatar, hidden, channels));
      this.earPrograms = [true, false].map((first) => new Program(gl, WHOLE, dense(first)));
      this.earTargets = [hidden, hidden, hidden, 3].map((texels) => new Target(gl, shape.listeners * texels, 1));
    }
    const residual = spans.residual.size > 0;
    const parts = {skinned: shape.rows > 0, residual, listener: shape.listeners > 0, grid: shape.nodes > 0};
    this.program = new Program(gl, WHOLE, gaussians(parts));
    this.target = new Target(gl, shape.count, 4);
    this.changed = true;
  }

  /** Evaluate the frame, if it is a new one. */
  run() {
    if (!this.changed) return;
    this.changed = false;
    this.#writeFrame();
    const {gl, tables, shape, spans, avatar, program} = this;
    gl.bindTexture(gl.TEXTURE_2D, tables.frame);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, this.numbers.length / 4, 1, gl.RGBA, gl.FLOAT, this.numbers);
    const textures = {splats: tables.splats, frame: tables.frame};
    if (shape.rows) {
      const {expression, pose} = spans;
      const poses = tables.poses ? {poses: tables.poses} : {};
      this.skinProgram.use(
        {skin: tables.skin, basis: tables.basis, ...poses, frame: tables.frame},
        {
          stretched: shape.stretched,
          expression: expression.start, expressions: expression.size, pose: pose.start, features: pose.size,
        },
      );
      this.skinTarget.fill();
      ['first', 'second', 'third'].forEach((name, i) => (textures[name] = this.skinTarget.textures[i]));
    }
    if (shape.nodes) {
      this.nodeProgram.use({carriers: tables.carriers, frame: tables.frame}, {count: shape.nodes});
      this.nodeTarget.fill();
      ['row0', 'row1', 'row2'].forEach((name, i) => (textures[name] = this.nodeTarget.textures[i]));
      textures.voxels = tables.voxels;
    }
    if (shape.listeners) {
      this.#listen();
      textures.told = this.earTargets[3].textures[0];
    }
    if (tables.residuals) textures.residuals = tables.residuals;
    const {start, size} = spans.residual;
    program.use(textures, {count: shape.count, residual: start, coefficients: size});
    if (shape.rows) {
      const [near, far] = avatar.manifest.heights;
      gl.uniform1f(program.at('near'), near);
      gl.uniform1f(program.at('far'), far);
    }
    if (size) this.#limitResidual();
    if (shape.nodes) {
      gl.uniform3fv(program.at('lower'), avatar.values('grid.lower'));
      gl.uniform3fv(program.at('voxel'), avatar.values('grid.step'));
      gl.uniform3iv(program.at('extent'), avatar.arrays['grid.nodes'].shape);
    }
    this.target.fill();
  }

  /**
   * What the passes have made; the GPU is waited for.
   * @returns {{means: Float32Array, axes: Float32Array, opacities: Float32Array, sh0: Float32Array}}
   *   (N, 3), (N, 3, 3) an axis a row, (N), (N, 3)
   */
  read() {
    const {count} = this.shape;
    const layers = this.target.textures.map((_, layer) => new Float32Array(this.target.read(layer).buffer));
    const means = new Float32Array(3 * count);
    const axes = new Float32Array(9 * count);
    const sh0 = new Float32Array(3 * count);
    const opacities = new Float32Array(count);
    for (let n = 0; n < count; n++) {
      means.set(layers[0].subarray(4 * n, 4 * n + 3), 3 * n);
      opacities[n] = layers[0][4 * n + 3];
      for (let axis = 0; axis < 3; axis++) {
        axes.set(layers[1 + axis].subarray(4 * n, 4 * n + 3), 9 * n + 3 * axis);
        sh0[3 * n + axis] = layers[1 + axis][4 * n + 3];
      }
    }
    return {means, axes, opacities, sh0};
  }

  delete() {
    Object.values(this.tables).forEach((texture) => this.gl.deleteTexture(texture));
    this.target.delete();
    this.skinTarget?.delete();
    this.nodeTarget?.delete();
    this.earTargets?.forEach((target) => target.delete());
    for (const program of [this.program, this.skinProgram, this.nodeProgram, ...(this.earPrograms ?? [])]) if (program) this.gl.deleteProgram(program.handle);
  }

  /** Where in a frame's texels each part of its parameters lies. */
  #layFrame() {
    const {arrays} = this.avatar;
    const fours = (name) => Math.ceil((arrays[name]?.shape.at(-1) ?? 0) / 4);
    let next = 0;
    const span = (size, times = 1) => {
      const start = next;
      next += size * times;
      return {start, size};
    };
    this.spans = {
      joints: span(3, this.avatar.joints + 1),
      expression: span(fours('skin.basis')),
      pose: span(fours('pose.basis')),
      residual: span(fours('residual.basis'), this.firsts.length),
      heard: span(fours('listener.ears')),
    };
    this.numbers = new Float32Array(4 * next);
  }

  /** What the sound does to the Gaussians that listen, layer by layer. */
  #listen() {
    const {tables, shape, spans, earPrograms, earTargets} = this;
    const {hidden, channels, listeners} = shape;
    let start = 0;
    let bias = 4 * hidden * (channels + 2 * hidden) + 12 * hidden; // behind all weights
    earTargets.forEach((target, layer) => {
      const first = layer === 0;
      const rows = layer === 3 ? 3 : hidden;
      const columns = first ? channels : hidden;
      const before = first ? {ears: tables.ears, frame: tables.frame} : {before: earTargets[layer - 1].textures[0]};
      earPrograms[first ? 0 : 1].use(
        {layers: tables.layers, ...before},
        {count: listeners * rows, rows, columns, start, bias, heard: spans.heard.start, rectified: Number(layer < 3)},
      );
      target.fill();
      start += 4 * rows * columns;
      if (!first) bias += rows;
    });
  }

  /** Which raw attributes the residual changes (places, quaternions, log extents, colours, opacity), and by how much. */
  #limitResidual() {
    const {gl, program, avatar} = this;
    const changes = avatar.arrays['residual.basis'].shape[1];
    gl.uniform1i(program.at('changes'), changes);
    gl.uniform1iv(program.at('columns'), avatar.values('residual.columns') ?? Int32Array.from({length: changes}, (_, i) => i));
    gl.uniform1fv(program.at('most'), avatar.values('residual.most') ?? new Float32Array(changes));
  }

  #writeFrame() {
    const {frame, skeleton, numbers, spans, avatar, firsts} = this;
    skeleton.set(frame.quats, frame.transl, frame.expression);
    numbers.set(skeleton.transforms, 4 * spans.joints.start);
    if (spans.expression.size) numbers.set(frame.expression, 4 * spans.expression.start);
    const features = avatar.values('pose.features') ?? [];
    for (let f = 0; 3 * f < features.length; f++) {
      const [joint, row, column] = features.subarray(3 * f, 3 * f + 3);
      numbers[4 * spans.pose.start + f] = skeleton.turns[9 * joint + 3 * row + column] - (row === column ? 1 : 0);
    }
    const width = avatar.arrays['residual.basis']?.shape.at(-1) ?? 0;
    firsts.forEach((first, group) => {
      const to = 4 * (spans.residual.start + group * spans.residual.size);
      if (width) numbers.set(frame.residual.subarray(first, first + width), to);
    });
    if (spans.heard.size) {
      const channels = avatar.arrays['listener.ears'].shape[1];
      numbers.set(frame.residual.subarray(avatar.coefficients - channels), 4 * spans.heard.start);
    }
  }
}

/**
 * Columns side by side, four numbers a texel.
 * @param {number} count rows
 * @param {[ArrayLike<number>|null, number, number][]} columns values, how many a row, and what stands for none
 */
function sideBySide(count, columns) {
  const width = columns.reduce((sum, [, size]) => sum + size, 0);
  const all = new Float32Array(count * width);
  let start = 0;
  for (const [values, size, missing] of columns) {
    for (let n = 0; n < count; n++) {
      for (let i = 0; i < size; i++) all[n * width + start + i] = values ? values[n * size + i] : missing;
    }
    start += size;
  }
  return all;
}

/** What each Gaussian is at rest and what moves it, in one record. */
function splatTable(avatar, firsts) {
  const {count} = avatar;
  const of = (name) => avatar.values(name);
  const bands = avatar.arrays['gaussians.sh'].shape[1];
  const sh = of('gaussians.sh');
  const constant = Float32Array.from({length: 3 * count}, (_, i) => sh[Math.floor(i / 3) * 3 * bands + (i % 3)]);
  const {rows, groups, turns} = residualRows(avatar, firsts);
  const looksUp = new Float32Array(count);
  for (const n of of('grid.rows') ?? []) looksUp[n] = 1;
  const ears = new Float32Array(count).fill(-1);
  of('listener.rows')?.forEach((n, row) => (ears[n] = row));
  const carriers = carriersTable(avatar, 'weights', count);
  return sideBySide(count, [
    [of('gaussians.means'), 3, 0], [of('gaussians.opacities'), 1, 0],
    [of('gaussians.quats'), 4, 0],
    [of('gaussians.log_scales'), 3, 0], [sidesOf(avatar), 1, 0],
    [constant, 3, 0], [rows, 1, -1],
    [of('skin.resting'), 3, 0], [groups, 1, 0],
    [of('skin.shares'), 3, 0], [looksUp, 1, 0],
    [of('skin.corners'), 3, -1], [ears, 1, 0],
    [carriers, 2 * JOINTS, 0],
    [turns, 4, 0],
  ]);
}

/** 1 of what is drawn from behind too, and 2 more of what lies inside. */
function sidesOf(avatar) {
  const [open, inside] = ['open_sided', 'inside'].map((name) => avatar.values(`gaussians.${name}`));
  return Float32Array.from({length: avatar.count}, (_, n) => (open?.[n] ? 1 : 0) + (inside?.[n] ? 2 : 0));
}

/**
 * Joints, then weights, of Gaussians or nodes; of what stands still, the anchor's.
 * @param {Avatar} avatar
 * @param {string} name of the arrays
 * @param {number} count rows
 */
function carriersTable(avatar, name, count) {
  const width = avatar.arrays[`${name}.joints`]?.shape[1] ?? 1;
  return sideBySide(count, [
    [avatar.values(`${name}.joints`), width, avatar.joints], [null, JOINTS - width, 0],
    [avatar.values(`${name}.values`), width, 1], [null, JOINTS - width, 0],
  ]);
}

/** What each listening Gaussian has of its place, and how it hears. */
function earsTable(avatar, hidden, channels) {
  const [count, width] = avatar.arrays['listener.places'].shape;
  const heard = avatar.arrays['listener.ears'].shape[1];
  return sideBySide(count, [
    [avatar.values('listener.places'), width, 0], [null, 4 * hidden - width, 0],
    [avatar.values('listener.ears'), heard, 0], [null, 4 * channels - heard, 0],
  ]);
}

/** Rows of all layers' weights one after the other, of whole fours, then biases; what is added does nothing. */
function layersTable(avatar, hidden, channels) {
  const rows = (name, count, texels) => {
    const {shape} = avatar.arrays[`listener.${name}`];
    const values = avatar.values(`listener.${name}`);
    const width = shape[1] ?? 1;
    const all = new Float32Array(4 * texels * count);
    for (let i = 0; i < values.length; i++) all[4 * texels * Math.floor(i / width) + (i % width)] = values[i];
    return all;
  };
  const bias = (name, texels) => {
    const all = new Float32Array(4 * texels);
    all.set(avatar.values(`listener.${name}`));
    return all;
  };
  const parts = [
    rows('first', 4 * hidden, channels), rows('second', 4 * hidden, hidden), rows('third', 4 * hidden, hidden),
    rows('last', 12, hidden), bias('second_bias', hidden), bias('third_bias', hidden), bias('last_bias', 3),
  ];
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((start, part) => (all.set(part, start), start + part.length), 0);
  return all;
}

/** Numbers of the nodes of all voxels, four a texel. */
function voxelTable(avatar) {
  const numbers = avatar.values('grid.nodes');
  const all = new Float32Array(4 * Math.ceil(numbers.length / 4));
  all.set(numbers);
  return all;
}

/** Row of the residual's basis, group of its coefficients, and turn of its quaternion, of each Gaussian. */
function residualRows(avatar, firsts) {
  const numbers = avatar.values('residual.rows');
  const rows = new Float32Array(avatar.count).fill(-1);
  const groups = new Float32Array(avatar.count);
  const turns = new Float32Array(4 * avatar.count);
  for (let n = 0; n < avatar.count; n++) turns[4 * n] = 1;
  if (!numbers) return {rows, groups, turns};
  const first = avatar.values('residual.first');
  const turn = avatar.values('residual.turns');
  numbers.forEach((n, row) => {
    rows[n] = row;
    if (first) groups[n] = firsts.indexOf(first[row]);
    if (turn) turns.set(turn.subarray(4 * row, 4 * row + 4), 4 * n);
  });
  return {rows, groups, turns};
}

function skinTable(avatar) {
  const count = avatar.arrays['skin.basis'].shape[0];
  const columns = (name) => {
    const values = avatar.values(name); // (M, 3, 2): the two columns go to texels of their own
    return [0, 1].flatMap((c) => [[Float32Array.from({length: 3 * count}, (_, i) => values[2 * i + c]), 3, 0], [null, 1, 0]]);
  };
  return sideBySide(count, [
    ...columns('skin.tangents'), ...columns('skin.base'), [avatar.values('skin.normals'), 3, 0], [null, 1, 0],
  ]);
}

/** (N, S, 3) to S by fours for each colour. */
function harmonicsTable(avatar) {
  const bands = avatar.arrays['gaussians.sh'].shape[1];
  const sh = avatar.values('gaussians.sh');
  const width = 4 * Math.ceil(bands / 4);
  const all = new Float32Array(avatar.count * 3 * width);
  for (let n = 0; n < avatar.count; n++) {
    for (let c = 0; c < 3; c++) {
      for (let s = 1; s < bands; s++) all[(3 * n + c) * width + s] = sh[(n * bands + s) * 3 + c];
    }
  }
  return all;
}

/** A basis with its coefficients by fours; halves stay halves. */
function padded(avatar, name) {
  const {data, shape} = avatar.arrays[name];
  const width = shape.at(-1);
  const whole = 4 * Math.ceil(width / 4);
  if (whole === width) return data;
  const all = new data.constructor((data.length / width) * whole);
  for (let row = 0; row * width < data.length; row++) {
    all.set(data.subarray(row * width, (row + 1) * width), row * whole);
  }
  return all;
}
