// Shared by the sections, the legend, and what is told of a point.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const one = (selector, root = document) => root.querySelector(selector);
const make = (name, text = "", attributes = {}) => {
  const element = document.createElement(name);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};
const fill = (select, names) => select.replaceChildren(...names.map((name, i) => make("option", name, { value: i })));
const typing = (target) => target.closest("input:not([type=range]):not([type=checkbox]), select, textarea");

for (const chip of all("[data-toggle]")) {
  chip.addEventListener("click", () => {
    const shown = chip.getAttribute("aria-pressed") !== "true";
    chip.setAttribute("aria-pressed", shown);
    for (const curve of all("#curves g[data-codec]")) {
      if (curve.dataset.codec === chip.dataset.toggle) curve.classList.toggle("off", !shown);
    }
  });
}

const tip = one("#tip");
for (const mark of all("[data-note]")) {
  one("title", mark)?.remove(); // the browser's own tip would lie over ours
  mark.setAttribute("tabindex", "0");
  mark.setAttribute("role", "img");
  mark.setAttribute("aria-label", mark.dataset.note);
  const show = () => {
    const box = mark.getBoundingClientRect();
    tip.textContent = mark.dataset.note;
    tip.hidden = false;
    const left = Math.min(box.x + box.width / 2 + 10, innerWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.max(8, box.y - tip.offsetHeight - 8)}px`;
  };
  for (const event of ["pointerenter", "focus"]) mark.addEventListener(event, show);
  for (const event of ["pointerleave", "blur"]) mark.addEventListener(event, () => (tip.hidden = true));
}
