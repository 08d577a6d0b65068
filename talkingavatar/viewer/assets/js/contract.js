/** Arrays of a baked avatar and their axes, as talkingavatar/exporters/bake_file.py writes them. */

// N Gaussians, S stretched ones of M rows of skin, J joints, E expressions, F features of pose, W joints that carry a
// Gaussian, K harmonics, n Gaussians that the residual changes in C attributes by R of its c coefficients, m that listen
// to A channels with H hidden numbers a layer and O changes, g that look their skinning up in X Y Z voxels of D nodes
// with Q joints, L latents at P places.
export const AXES = {
  'gaussians.means': 'N3',
  'gaussians.quats': 'N4',
  'gaussians.log_scales': 'N3',
  'gaussians.opacities': 'N',
  'gaussians.sh': 'NK3',
  'gaussians.open_sided': 'N',
  'gaussians.inside': 'N',
  'rest_joints': 'J3',
  'rest_joints.expression': 'J3E',
  'anchor': '34',
  'anchor.follow': '1',
  'weights.joints': 'NW',
  'weights.values': 'NW',
  'skin.corners': 'N3',
  'skin.shares': 'N3',
  'skin.resting': 'N3',
  'skin.basis': 'S9E',
  'skin.base': 'S32',
  'skin.tangents': 'S32',
  'skin.normals': 'S3',
  'pose.basis': 'M3F',
  'pose.features': 'F3',
  'residual.basis': 'nCR',
  'residual.rows': 'n',
  'residual.columns': 'C',
  'residual.first': 'n',
  'residual.most': 'C',
  'residual.turns': 'n4',
  'listener.rows': 'm',
  'listener.places': 'mH',
  'listener.ears': 'mA',
  'listener.first': 'HA',
  'listener.second': 'HH',
  'listener.second_bias': 'H',
  'listener.third': 'HH',
  'listener.third_bias': 'H',
  'listener.last': 'OH',
  'listener.last_bias': 'O',
  'grid.rows': 'g',
  'grid.lower': '3',
  'grid.step': '3',
  'grid.nodes': 'XYZ',
  'grid.joints': 'DQ',
  'grid.values': 'DQ',
  'latents.places': 'P',
  'latents.turns': 'LPJ3',
  'latents.expression': 'LPE',
  'latents.residual': 'LPc',
};
const OPTIONAL = /^(anchor|pose\.|residual\.|listener\.|grid\.|latents\.|gaussians\.(open_sided|inside)|rest_joints\.expression)/;
const listener = ['rows', 'places', 'ears', 'first', 'second', 'second_bias', 'third', 'third_bias', 'last', 'last_bias'];
const TOGETHER = [
  listener.map((name) => `listener.${name}`),
  ['pose.basis', 'pose.features'], ['residual.basis', 'residual.rows', 'residual.columns'],
  ['latents.places', 'latents.turns', 'latents.expression', 'latents.residual'],
  ['grid.rows', 'grid.lower', 'grid.step', 'grid.nodes', 'grid.joints', 'grid.values'],
];

/**
 * Whether arrays fit each other.
 * @param {Record<string, import('./glb.js').Numbers>} arrays
 * @param {{J: number, E: number}} sizes of axes that are known
 * @returns {string} what is wrong; nothing: ''
 */
export function misfit(arrays, sizes) {
  for (const [name, axes] of Object.entries(AXES)) {
    if (!(name in arrays)) {
      if (OPTIONAL.test(name)) continue;
      return `no ${name}`;
    }
    const {shape} = arrays[name];
    const fits = shape.length === axes.length && shape.every((length, i) => {
      const axis = axes[i];
      return length === (axis >= '0' && axis <= '9' ? Number(axis) : (sizes[axis] ??= length));
    });
    if (!fits) return `${name} of ${shape.join(' x ')}`;
  }
  for (const names of TOGETHER) {
    const there = names.filter((name) => name in arrays).length;
    if (there && there < names.length) return `${names.join(' or ')} missing`;
  }
  return '';
}
