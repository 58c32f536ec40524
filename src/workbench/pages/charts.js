// Charts in plain SVG: scales, axes, colours, legends and tooltips.
"use strict";

const charts = (() => {
  const COLOURS = 10, LOG_RATIO = 20, NAMESPACE = "http://www.w3.org/2000/svg";

  const node = (tag, attributes = {}, ...children) => {
    const element = document.createElementNS(NAMESPACE, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  const isNumber = value => typeof value === "number" && isFinite(value);
  const text = value => !isNumber(value) ? String(value ?? "–")
    : (Math.abs(value) >= 1e6 || (value && Math.abs(value) < 1e-3) ? value.toExponential(2).replace(/\.?0+e/, "e")
      : String(Number(value.toPrecision(6)))).replace("-", "−");

  const roundNumbers = (low, high, count) => { // about `count` round numbers in an interval
    const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find(m => m * power >= raw) * power;
    const numbers = [];
    for (let n = Math.ceil(low / step); n * step <= high + step * 1e-9; n++) numbers.push(Number((n * step).toPrecision(12)));
    return numbers;
  };

  // Map the values of an axis to [0, 1]: names at equal distances, numbers linearly, or
  // logarithmically if they are values of a setting with a ratio of at least LOG_RATIO.
  const scale = (values, { setting = false, ticks = 5 } = {}) => {
    const known = values.filter(value => value !== null && value !== undefined);
    const distinct = [...new Set(known)];
    if (!distinct.length || !distinct.every(isNumber)) {
      const names = [...new Set(known.map(String))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
      const place = value => (names.indexOf(String(value)) + 0.5) / names.length;
      return { place, ticks: names.map(name => [name, place(name)]), numeric: false };
    }
    const sorted = distinct.sort((a, b) => a - b), positive = sorted.filter(value => value > 0);
    const isLog = setting && sorted[0] >= 0 && positive.length > 1 && positive.at(-1) >= LOG_RATIO * positive[0];
    const zero = isLog && sorted[0] === 0 ? positive[0] / 10 : positive[0]; // 0 is left of the other values
    const to = value => isLog ? Math.log10(value || zero) : value;
    let [low, high] = [to(sorted[0]), to(sorted.at(-1))];
    if (low === high) [low, high] = [low - (Math.abs(low) || 1) * 0.1, high + (Math.abs(high) || 1) * 0.1];
    const margin = 0.06 * (high - low);
    [low, high] = [low - margin, high + margin];
    const place = value => (to(value) - low) / (high - low);
    const shown = setting && sorted.length <= 8 ? sorted
      : isLog ? roundNumbers(low, high, ticks).filter(Number.isInteger).map(power => 10 ** power) : roundNumbers(low, high, ticks);
    const words = shown.map(text), places = Math.max(0, ...words.map(word => (word.split(".")[1] ?? "").length));
    const isEven = !setting && !words.some(word => word.includes("e")); // 0.60 next to 0.62
    const named = value => isEven ? value.toFixed(places).replace("-", "−") : text(value);
    return { place, ticks: shown.map(value => [named(value), place(value)]), numeric: true };
  };

  // Draw an empty chart with axes; return the functions from values to coordinates, and its size.
  const frame = (svg, xs, ys, xName, yName) => {
    const width = Math.max(300, Math.min(960, svg.clientWidth || 720)), height = width < 500 ? 320 : 400;
    const [left, right, top, bottom] = [66, 14, 24, 46];
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    const x = value => left + xs.place(value) * (width - left - right);
    const y = value => height - bottom - ys.place(value) * (height - top - bottom);
    let last = -Infinity;
    for (const [name, place] of xs.ticks) {
      const at = left + place * (width - left - right), length = name.length * 6.2;
      svg.append(node("line", { class: "grid", x1: at, x2: at, y1: top, y2: height - bottom }));
      if (at - length / 2 < last + 4) continue; // names must not overlap
      last = at + length / 2;
      svg.append(node("text", { class: "tick", x: at, y: height - bottom + 16, "text-anchor": "middle" }, name));
    }
    for (const [name, place] of ys.ticks) {
      const at = height - bottom - place * (height - top - bottom);
      svg.append(node("line", { class: "grid", x1: left, x2: width - right, y1: at, y2: at }));
      svg.append(node("text", { class: "tick", x: left - 6, y: at + 4, "text-anchor": "end" }, name.slice(0, 10)));
    }
    svg.append(node("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, xName));
    svg.append(node("text", { x: 4, y: 14 }, yName));
    return { x, y, width, height };
  };

  // Colours by key: distinct ones for few keys, steps from blue to yellow for many.
  const colours = keys => {
    const step = n => `hsl(${240 - 190 * n / Math.max(1, keys.length - 1)} 65% ${42 + 16 * n / keys.length}%)`;
    return new Map(keys.map((key, n) => [key, keys.length <= COLOURS ? `var(--c${n})` : step(n)]));
  };

  // A legend; pointing at an entry fades everything in the charts that has another key.
  const legend = (list, colourOf, scope) => {
    list.replaceChildren();
    if (colourOf.size < 2 || colourOf.size > 24) return;
    for (const [key, colour] of colourOf) {
      const entry = document.createElement("li"), dot = document.createElement("i");
      dot.style.background = colour;
      entry.append(dot, key);
      const mark = on => {
        for (const other of scope.querySelectorAll("[data-key]")) other.classList.toggle("faded", on && other.dataset.key !== key);
      };
      entry.onpointerenter = () => mark(true);
      entry.onpointerleave = () => mark(false);
      list.append(entry);
    }
  };

  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const showTip = (words, x, y) => {
    tip.textContent = words;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 4))}px`;
    tip.style.top = `${y + 16 + height > innerHeight ? Math.max(4, y - height - 10) : y + 16}px`;
  };
  const hideTip = () => { tip.hidden = true; };

  // Elements with a tip, a function that returns a text, show it at the pointer and on focus.
  const tips = new WeakMap();
  const withTip = (element, words) => { tips.set(element, words); return element; };
  const tipOf = event => {
    for (let at = event.target; at && at !== document; at = at.parentNode) if (tips.has(at)) return tips.get(at);
    return null;
  };
  document.addEventListener("pointermove", event => {
    const words = tipOf(event);
    if (words) showTip(words(), event.clientX, event.clientY); else if (!event.target.closest?.("[data-own-tip]")) hideTip();
  });
  document.addEventListener("focusin", event => {
    const words = tipOf(event), box = event.target.getBoundingClientRect();
    if (words) showTip(words(), box.right, box.bottom); else hideTip();
  });

  return { node, scale, frame, colours, legend, text, isNumber, showTip, hideTip, withTip };
})();
