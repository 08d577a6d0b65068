/** What a page that is whole by itself holds in place of a server's answers. */

/** Unpack every part: `FILES` then has an address for each path. */
export async function unpack() {
  globalThis.FILES = {};
  for (const part of document.querySelectorAll('script[data-path]')) {
    const text = atob(part.textContent);
    const packed = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
    part.remove(); // it is not needed twice
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
    globalThis.FILES[part.dataset.path] = URL.createObjectURL(await new Response(stream).blob());
  }
}
