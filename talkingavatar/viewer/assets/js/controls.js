/** Labelled controls, and what is said of them. */

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/** @param {string} tag @param {Object} properties @param {...(Node|string)} children */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/**
 * A slider with its name and value; twice clicked it goes back.
 * @param {{name: string, hint?: string, min: number, max: number, step?: number, value?: number,
 *   shown?: (v: number) => string}} what
 * @param {(value: number) => void} changed
 */
export function slider({name, hint = '', min, max, step = 0.01, value = 0, shown = String}, changed) {
  const input = element('input', {type: 'range', min, max, step});
  const output = element('output', {ariaLive: 'off'});
  const label = element('label', {className: 'slider'}, name, output, input);
  if (hint) label.append(element('small', {textContent: hint}));
  const show = (now) => {
    input.value = now;
    output.textContent = shown(Number(input.value));
    label.classList.toggle('set', Number(input.value) !== value);
  };
  const change = (now) => {
    show(now);
    changed(Number(input.value));
  };
  input.addEventListener('input', () => change(input.value));
  label.addEventListener('dblclick', () => change(value));
  show(value);
  return {label, show, name: `${name} ${hint}`.toLowerCase()};
}

/** An input of the page that has its output beside it. */
export function ranged(id, shown, changed) {
  const input = byId(id);
  const output = input.parentElement.querySelector('output');
  const show = () => (output.textContent = shown(Number(input.value)));
  input.addEventListener('input', () => {
    show();
    changed(Number(input.value));
  });
  show();
  return {
    set(value) {
      input.value = value;
      show();
    },
  };
}

/** @param {HTMLSelectElement} select @param {{value: string, text: string}[]} options */
export function fill(select, options) {
  select.replaceChildren(...options.map(({value, text}) => element('option', {value, textContent: text})));
}

/** A line below a part of the panel. */
export function teller(id) {
  const line = byId(id);
  return (text, wrong = false) => {
    line.textContent = text;
    line.classList.toggle('wrong', wrong);
  };
}
