/** Where the page's data lie: at the server that sent it, or inside the page. */

/**
 * @param {string} path as the server answers it
 * @returns {string} to be fetched; of a page that is whole by itself, what it holds (`FILES`)
 */
export function address(path) {
  return globalThis.FILES?.[path] ?? path.slice(1);
}

/** @param {string} path */
async function got(path) {
  let answer;
  try {
    answer = await fetch(address(path));
  } catch {
    throw new Error('The server does not answer. Is it still running?');
  }
  if (!answer.ok) throw new Error((await answer.text()).trim() || `${path}: ${answer.status}`);
  return answer;
}

/** @param {string} path */
export const json = async (path) => (await got(path)).json();

/** @param {string} path */
export const bytes = async (path) => (await got(path)).arrayBuffer();

/** @returns {string|null} of the live connection; null where there is no server */
export function liveAddress(number) {
  if (globalThis.FILES) return null;
  const url = new URL(`live?avatar=${number}`, location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}
