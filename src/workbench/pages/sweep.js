// The page of a sweep: filter, choice of the metric, charts, two runs side by side.
"use strict";

{
  const data = JSON.parse(document.getElementById("sweep-data").textContent);
  const { node, scale, frame, colours, legend, text, isNumber, showTip, hideTip, withTip } = charts;
  const $ = id => document.getElementById(id);
  const KEY = `sweep page ${location.pathname}`, GROUP = "setting (seeds together)";

  // The quantities of the axes: varied settings, metrics, seconds.
  const fields = new Map();
  data.settings.forEach((setting, n) => fields.set(setting.short, { setting: true, seed: setting.seed, of: run => run.settings[n] }));
  data.metrics.forEach((metric, n) => fields.set(metric.name, { unit: metric.unit, better: metric.better, mixed: metric.mixed, of: run => run.metrics[n] }));
  fields.set("seconds", { unit: "s", of: run => run.seconds });
  const settings = data.settings.map(setting => setting.short);
  const unseeded = data.settings.filter(setting => !setting.seed).map(setting => setting.short);
  const named = name => { // with its unit; that of a curve is the unit of the same metric in another stage
    const last = name.split("/").pop(), same = data.metrics.find(metric => metric.name.split("/").pop() === last);
    const unit = fields.has(name) ? fields.get(name).unit : same?.unit;
    return unit ? `${name} (${unit})` : name;
  };
  const labelOf = run => data.groups[run.group] ?? `${run.name} (${run.status})`;

  // --- the state of all controls, kept when the page is reloaded ---
  const state = {
    filter: "", metric: data.metric ?? "", x: unseeded[0] ?? settings[0] ?? "seconds", y: data.metric ?? "seconds",
    colour: data.groups.length <= 10 ? GROUP : unseeded[0] ?? GROUP, tag: Object.keys(data.curves)[0] ?? "",
    a: data.runs[0]?.name ?? "", b: data.runs.find(run => run.group !== data.runs[0]?.group)?.name ?? data.runs[1]?.name ?? "", all: false,
  };
  try { Object.assign(state, JSON.parse(sessionStorage.getItem(KEY) ?? "{}")); } catch { /* storage is disabled */ }
  const saveState = () => { try { sessionStorage.setItem(KEY, JSON.stringify(state)); } catch { /* storage is disabled */ } };
  if (!fields.has(state.x)) state.x = settings[0] ?? "seconds";
  if (!fields.has(state.y)) state.y = data.metric ?? "seconds";
  if (!fields.has(state.colour)) state.colour = GROUP;
  if (!(state.tag in data.curves)) state.tag = Object.keys(data.curves)[0] ?? "";

  // --- filter: words, and comparisons such as beta>=1 ---
  const COMPARISONS = { "=": (a, b) => a === b, "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b };
  const test = token => {
    const [, name, sign, value] = token.match(/^([^<>=]+)(<=|>=|=|<|>)(.+)$/) ?? [];
    if (name && fields.has(name)) return run => {
      const ofRun = fields.get(name).of(run), number = Number(value.replace("−", "-"));
      if (isNumber(ofRun) && !isNaN(number)) return COMPARISONS[sign](ofRun, number);
      return sign === "=" && String(ofRun ?? "–").toLowerCase() === value.toLowerCase();
    };
    return run => `${run.name} ${labelOf(run)} ${run.status}`.toLowerCase().includes(token.toLowerCase());
  };
  let shown = data.runs;
  const filterRows = () => {
    const tests = state.filter.split(/\s+/).filter(Boolean).map(test);
    shown = data.runs.filter(run => tests.every(passes => passes(run)));
    const runs = new Set(shown), groups = new Set(shown.map(run => run.group));
    for (const row of document.querySelectorAll("tr[data-run]")) row.hidden = !runs.has(data.runs[row.dataset.run]);
    for (const row of document.querySelectorAll("tr[data-group]")) row.hidden = !groups.has(Number(row.dataset.group));
    $("shown").textContent = shown.length < data.runs.length ? `${shown.length} of ${data.runs.length} runs` : "";
  };

  // --- the column of gaps to the best, for the chosen metric ---
  const showGaps = () => {
    const gaps = data.gaps[state.metric] ?? {};
    for (const cell of document.querySelectorAll("td[data-gap]")) {
      const [words, key, title] = gaps[cell.dataset.gap] ?? ["–", NaN, ""];
      cell.textContent = words;
      cell.dataset.key = key;
      cell.title = title;
    }
    for (const name of document.querySelectorAll(".chosen-metric")) name.textContent = state.metric;
  };

  // --- charts ---
  const keyOf = run => state.colour === GROUP ? labelOf(run) : text(fields.get(state.colour).of(run));
  const keyColours = () => {
    const keys = [...new Set(data.runs.map(keyOf))];
    if (state.colour !== GROUP) keys.sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    return colours(keys);
  };
  const about = run => [run.name + (run.status === "completed" ? "" : ` (${run.status})`),
    ...[...fields].filter(([name]) => name !== "seconds").map(([name, field]) => `${name}: ${text(field.of(run))}`)].join("\n");
  const linked = (run, ...children) => node("a", { href: run.link }, ...children);
  const mean = values => values.reduce((a, b) => a + b, 0) / values.length;

  const explore = () => {
    const [fx, fy] = [fields.get(state.x), fields.get(state.y)], svg = $("explore");
    const known = run => fx.of(run) !== null && fx.of(run) !== undefined && fy.of(run) !== null && fy.of(run) !== undefined;
    const runs = shown.filter(known), colour = keyColours();
    const xs = scale(runs.map(fx.of), fx), ys = scale(runs.map(fy.of), fy);
    const { x, y } = frame(svg, xs, ys, named(state.x), named(state.y));
    const groups = new Map();
    for (const run of runs) if (run.group >= 0) groups.set(run.group, [...groups.get(run.group) ?? [], run]);
    if (ys.numeric && !fx.seed) for (const members of groups.values()) { // the seeds of a setting, joined
      const centre = [mean(members.map(run => x(fx.of(run)))), mean(members.map(run => y(fy.of(run))))];
      const key = keyOf(members[0]), style = `stroke: ${colour.get(key)}`;
      if (members.length > 1) for (const run of members)
        svg.append(node("line", { x1: centre[0], y1: centre[1], x2: x(fx.of(run)), y2: y(fy.of(run)), style, "stroke-width": 1.5, "data-key": key }));
      if (members.length > 1) svg.append(withTip(node("path", { d: `M${centre[0] - 9} ${centre[1]}h18`, style, "stroke-width": 3, "data-key": key }),
        () => `${labelOf(members[0])}\nmean of ${members.length} runs: ${text(mean(members.map(fy.of)))}`));
    }
    for (const run of runs) {
      const key = keyOf(run), place = { cx: x(fx.of(run)), cy: y(fy.of(run)) };
      svg.append(withTip(linked(run, node("circle", { ...place, r: 9, class: "hit" }),
        node("circle", { ...place, r: 4.5, class: "dot", style: `fill: ${colour.get(key)}`, "data-key": key })), () => about(run)));
    }
    legend($("explore-legend"), colour, document);
  };

  const parallel = () => {
    const svg = $("parallel"), colour = keyColours();
    const differs = name => new Set(shown.map(run => fields.get(name).of(run))).size > 1;
    const chosen = [...new Set([...unseeded.slice(0, 8), ...data.metrics.filter(m => !m.mixed).slice(0, 6).map(m => m.name), state.y])].filter(differs);
    svg.parentElement.hidden = chosen.length < 2;
    if (chosen.length < 2) return;
    const width = Math.max(svg.parentElement.clientWidth - 2, 105 * chosen.length), height = 320, [top, bottom] = [48, 16];
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.style.width = svg.style.maxWidth = `${width}px`;
    svg.replaceChildren();
    const at = n => 50 + n * (width - 110) / (chosen.length - 1);
    const scales = chosen.map(name => scale(shown.map(fields.get(name).of), { ...fields.get(name), ticks: 4 }));
    const y = (n, value) => height - bottom - scales[n].place(value) * (height - top - bottom);
    for (const run of shown) {
      const points = chosen.map((name, n) => [at(n), fields.get(name).of(run)]).map(([px, value], n) => value === null || value === undefined ? null : `${px.toFixed(1)} ${y(n, value).toFixed(1)}`);
      const d = points.map((point, n) => point && `${n && points[n - 1] ? "L" : "M"}${point}`).filter(Boolean).join("");
      const key = keyOf(run);
      svg.append(withTip(linked(run, node("path", { d, class: "hit", "stroke-width": 9 }),
        node("path", { d, style: `stroke: ${colour.get(key)}`, "stroke-width": 1.3, opacity: 0.75, "data-key": key })), () => about(run)));
    }
    chosen.forEach((name, n) => {
      svg.append(node("line", { class: "axis", x1: at(n), x2: at(n), y1: top, y2: height - bottom }));
      svg.append(node("text", { x: at(n), y: n % 2 ? 34 : 16, "text-anchor": "middle" }, name));
      for (const [words, place] of scales[n].ticks)
        svg.append(node("text", { class: "tick", x: at(n) + 5, y: height - bottom - place * (height - top - bottom) + 4 }, words.slice(0, 14)));
    });
  };

  const curves = () => {
    const svg = $("curves");
    if (!svg) return;
    const visible = new Set(shown), colour = keyColours();
    const drawn = data.curves[state.tag].map(([n, steps, values]) => ({ run: data.runs[n], points: steps.map((step, i) => [step, values[i]]).filter(point => isNumber(point[1])) }))
      .filter(curve => visible.has(curve.run) && curve.points.length);
    const all = drawn.flatMap(curve => curve.points);
    const { x, y } = frame(svg, scale(all.map(point => point[0])), scale(all.map(point => point[1])), "optimizer steps", named(state.tag));
    for (const { run, points } of drawn) {
      const key = keyOf(run), style = `stroke: ${colour.get(key)}`;
      const d = points.map(([step, value], n) => `${n ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
      svg.append(node("path", { d, style, "stroke-width": 1.5, "stroke-dasharray": run.status === "completed" ? "" : "5 3", "data-key": key }));
      if (points.length < 20) for (const [step, value] of points)
        svg.append(node("circle", { cx: x(step), cy: y(value), r: 2.5, style: `fill: ${colour.get(key)}`, "data-key": key }));
    }
    const places = drawn.flatMap(({ run, points }) => points.map(([step, value]) => ({ run, step, value, px: x(step), py: y(value) })));
    svg.onpointermove = event => {
      const matrix = svg.getScreenCTM();
      const [px, py] = [(event.clientX - matrix.e) / matrix.a, (event.clientY - matrix.f) / matrix.d];
      let nearest = null, least = 900; // 30 pixels
      for (const place of places) {
        const distance = (place.px - px) ** 2 + (place.py - py) ** 2;
        if (distance < least) [nearest, least] = [place, distance];
      }
      if (nearest) showTip(`${nearest.run.name}\nstep ${nearest.step}: ${text(nearest.value)}`, event.clientX, event.clientY); else hideTip();
    };
    svg.onpointerleave = hideTip;
  };

  // --- two runs side by side ---
  const compare = () => {
    const [a, b] = [state.a, state.b].map(name => data.runs.find(run => run.name === name));
    const body = $("compared").tBodies[0];
    body.replaceChildren();
    if (!a || !b) return;
    const add = (name, left, right, differs) => {
      const row = body.insertRow();
      for (const words of [name, left, right]) row.insertCell().textContent = words;
      row.cells[1].className = row.cells[2].className = differs ? "text differs" : "text";
    };
    add("status", a.status, b.status, a.status !== b.status);
    data.differing.forEach((name, n) => {
      const [left, right] = [a.differing[n], b.differing[n]];
      if (left !== right || state.all) add(name, left, right, left !== right);
    });
    data.metrics.forEach(({ name, places }, n) => {
      const words = value => isNumber(value) ? value.toFixed(places).replace("-", "−") : "–";
      add(named(name), words(a.metrics[n]), words(b.metrics[n]), false);
    });
  };

  // --- controls ---
  const drawAll = () => { explore(); parallel(); curves(); };
  const refresh = () => { filterRows(); showGaps(); drawAll(); compare(); saveState(); };
  const offer = (id, options, name) => {
    const select = $(id);
    if (!select) return;
    select.replaceChildren(...options.map(option => new Option(option)));
    select.value = state[name];
    select.onchange = () => { state[name] = select.value; if (name === "metric") $("y").value = state.y = select.value; refresh(); };
  };
  offer("metric", data.metrics.map(metric => metric.name), "metric");
  offer("x", [...fields.keys()], "x");
  offer("y", [...fields.keys()], "y");
  offer("colour", [GROUP, ...settings], "colour");
  offer("tag", Object.keys(data.curves), "tag");
  offer("a", data.runs.map(run => run.name), "a");
  offer("b", data.runs.map(run => run.name), "b");
  $("filter").value = state.filter;
  $("filter").oninput = () => { state.filter = $("filter").value; refresh(); };
  $("all").checked = state.all;
  $("all").onchange = () => { state.all = $("all").checked; compare(); saveState(); };
  for (const button of document.querySelectorAll("button[data-pick]")) button.onclick = () => {
    [state.b, state.a] = [state.a, data.runs[button.dataset.pick].name];
    [$("a").value, $("b").value] = [state.a, state.b];
    compare();
    saveState();
    $("side-by-side").scrollIntoView({ behavior: "smooth" });
  };
  addEventListener("resize", drawAll);
  addEventListener("beforeprint", drawAll);
  refresh();
  if (data.reload) setTimeout(() => location.reload(), 1000 * data.reload);
}
