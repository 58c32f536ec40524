// The latent space: at the pointer it shows the nearest test image and a decoded image.
"use strict";

{
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const svg = document.getElementById("explorer"), NAMESPACE = "http://www.w3.org/2000/svg";
  const SIZE = 520, LEFT = 46, TOP = 22, BOTTOM = 32, TILE = 168;
  const node = (tag, attributes, ...children) => {
    const element = document.createElementNS(NAMESPACE, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const [low, high] = [data.low, data.high];
  const x = value => LEFT + (value - low[0]) / (high[0] - low[0]) * (SIZE - LEFT);
  const y = value => TOP + (SIZE - TOP - BOTTOM) * (1 - (value - low[1]) / (high[1] - low[1]));
  const words = value => String(Number(value.toPrecision(3))).replace("-", "−");
  const colourOf = label => label < 0 ? "var(--quiet)" : `var(--c${label % 10})`, nameOf = label => label < 0 ? "none" : String(label);
  const colour = n => data.classes ? colourOf(data.classes[n]) : "var(--c0)";

  svg.setAttribute("viewBox", `0 0 ${SIZE} ${SIZE}`);
  if (data.plane) svg.append(node("image", { href: data.plane.source, x: LEFT, y: TOP, width: SIZE - LEFT, height: SIZE - TOP - BOTTOM,
    preserveAspectRatio: "none", class: data.plane.source.startsWith("data:image/png") ? "plane grey" : "plane" }));
  const ticksOf = axis => { // up to eight round numbers along an axis
    const raw = (high[axis] - low[axis]) / 8, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find(factor => factor * power >= raw) * power, first = Math.ceil(low[axis] / step);
    return Array.from({ length: Math.floor(high[axis] / step) - first + 1 }, (_, n) => (first + n) * step);
  };
  for (const a of ticksOf(0)) svg.append(node("text", { class: "tick", x: x(a), y: SIZE - BOTTOM + 15, "text-anchor": "middle" }, words(a)));
  for (const b of ticksOf(1)) svg.append(node("text", { class: "tick", x: LEFT - 4, y: y(b) + 4, "text-anchor": "end" }, words(b)));
  svg.append(node("text", { x: (LEFT + SIZE) / 2, y: SIZE - 2, "text-anchor": "middle" }, `μ of ${data.names[0]}`));
  svg.append(node("text", { x: 0, y: 12 }, `μ of ${data.names[1]}`));
  const dots = data.codes.map((code, n) => node("circle", { cx: x(code[0]), cy: y(code[1]), r: 3, class: "dot", style: `fill: ${colour(n)}` }));
  const ring = node("circle", { r: 7, class: "ring", visibility: "hidden" });
  svg.append(...dots, ring);

  const show = (element, sheet, tile) => { // one tile of a sprite, enlarged
    const scale = TILE / Math.max(sheet.width, sheet.height), [column, row] = [tile % sheet.side, Math.floor(tile / sheet.side)];
    Object.assign(element.style, {
      width: `${sheet.width * scale}px`, height: `${sheet.height * scale}px`, backgroundImage: `url(${sheet.source})`,
      backgroundSize: `${sheet.side * sheet.width * scale}px`,
      backgroundPosition: `${-column * sheet.width * scale}px ${-row * sheet.height * scale}px`,
    });
  };
  const clamp = (value, most) => Math.min(most, Math.max(0, value));
  const lookAt = (a, b) => { // show the images at a point of the latent space
    let nearest = 0, least = Infinity;
    data.codes.forEach((code, n) => {
      const distance = (code[0] - a) ** 2 + (code[1] - b) ** 2;
      if (distance < least) [nearest, least] = [n, distance];
    });
    const code = data.codes[nearest];
    show(document.getElementById("nearest"), data.images, nearest);
    document.getElementById("nearest-words").textContent =
      `nearest test image${data.classes ? `, class ${nameOf(data.classes[nearest])}` : ""}: μ = (${code.map(words).join(", ")})`;
    ring.setAttribute("cx", x(code[0]));
    ring.setAttribute("cy", y(code[1]));
    ring.setAttribute("visibility", "visible");
    if (!data.plane) return;
    const side = data.plane.side;
    const column = clamp(Math.floor((a - low[0]) / (high[0] - low[0]) * side), side - 1);
    const row = clamp(Math.floor((high[1] - b) / (high[1] - low[1]) * side), side - 1);
    show(document.getElementById("decoded"), data.plane, row * side + column);
    document.getElementById("decoded-words").textContent = `decoded around z = (${words(a)}, ${words(b)})`;
  };
  const follow = event => {
    const matrix = svg.getScreenCTM();
    const [px, py] = [(event.clientX - matrix.e) / matrix.a, (event.clientY - matrix.f) / matrix.d];
    lookAt(low[0] + clamp((px - LEFT) / (SIZE - LEFT), 1) * (high[0] - low[0]), high[1] - clamp((py - TOP) / (SIZE - TOP - BOTTOM), 1) * (high[1] - low[1]));
  };
  svg.onpointermove = svg.onpointerdown = follow;
  lookAt(...data.codes[0]);

  if (data.classes) {
    const list = document.getElementById("explorer-classes"), classes = [...new Set(data.classes)].sort((a, b) => a - b);
    for (const label of classes.length <= 20 ? classes : []) {
      const entry = document.createElement("li"), dot = document.createElement("i");
      dot.style.background = colourOf(label);
      entry.append(dot, nameOf(label));
      const mark = on => dots.forEach((dot, n) => dot.classList.toggle("faded", on && data.classes[n] !== label));
      entry.onpointerenter = () => mark(true);
      entry.onpointerleave = () => mark(false);
      list.append(entry);
    }
  }
  const behind = document.getElementById("plane-behind");
  if (behind) behind.onchange = () => svg.classList.toggle("without-plane", !behind.checked);
}
