
'use strict';
(() => {
  const $ = (s, of) => Array.from((of || document).querySelectorAll(s));
  const units = { ns: 1e-9, 'µs': 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600, k: 1e3, M: 1e6, G: 1e9, '%': .01 };
  // The number that a text begins with, in base units; none sorts last.
  const number = (t) => {
    const m = /^[^\d−-]*([−-]?[\d,]*\.?\d+)\s*(ns|µs|ms|min|s|h|k|M|G|%)?/.exec(t);
    return m ? parseFloat(m[1].replace(/,/g, '').replace('−', '-')) * (units[m[2]] || 1) : NaN;
  };

  // Sorting: within each group, by the column whose heading is chosen.
  const sortBy = (th, column) => {
    const table = th.closest('table'), down = th.getAttribute('aria-sort') === 'ascending';
    $('thead th', table).forEach((h) => h.removeAttribute('aria-sort'));
    th.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const sign = down ? -1 : 1;
    $('tbody', table).forEach((body) => {
      const rows = $('tr:not(.group)', body).map((row) => ({ row, text: row.cells[column].textContent, n: number(row.cells[column].textContent) }));
      rows.sort((a, b) => {
        if (isNaN(a.n) || isNaN(b.n)) return isNaN(a.n) - isNaN(b.n) || sign * a.text.localeCompare(b.text);
        return sign * (a.n - b.n) || a.text.localeCompare(b.text);
      });
      rows.forEach((r) => body.append(r.row));
    });
  };
  $('table.cells thead th, table.compared thead th').forEach((th) => {
    const b = document.createElement('button');
    b.type = 'button';
    b.title = 'sort by ' + th.textContent;
    b.append(...th.childNodes);
    th.append(b);
    b.addEventListener('click', () => sortBy(th, th.cellIndex));
  });

  // Filtering: by words, all of which must be found, and by strategy.
  const filter = document.getElementById('filter'), boxes = $('.tools input[type=checkbox]');
  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean), off = new Set(boxes.filter((b) => !b.checked).map((b) => b.value));
    let shown = 0, all = 0;
    $('table.cells tbody').forEach((body) => {
      const head = body.querySelector('.group').textContent.toLowerCase();
      let any = false;
      $('tr:not(.group)', body).forEach((row) => {
        const text = head + ' ' + row.textContent.toLowerCase();
        row.hidden = off.has(row.cells[0].textContent) || !words.every((w) => text.includes(w));
        all++;
        if (!row.hidden) { shown++; any = true; }
      });
      body.hidden = !any;
    });
    $('details.cells').forEach((d) => {
      const any = $('tbody', d).some((b) => !b.hidden);
      d.hidden = !any;
      if (words.length) d.open = any;
    });
    document.getElementById('shown').textContent = shown + ' of ' + all + ' rows';
  };
  const tools = document.querySelector('.tools');
  if (filter && tools) {
    tools.hidden = false;
    tools.addEventListener('submit', (e) => e.preventDefault());
    let timer;
    filter.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(apply, 120); });
    boxes.forEach((b) => b.addEventListener('change', apply));
  }
  // A link into closed details opens them.
  const reveal = () => {
    const at = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let d = at && at.closest('details'); d; d = d.parentElement.closest('details')) d.open = true;
    if (at) at.scrollIntoView();
  };
  addEventListener('hashchange', reveal);
  reveal();

  // The explorer: percentile spectra of one group, with values.
  const section = document.getElementById('explorer-section');
  if (!section) return;
  const data = JSON.parse(document.getElementById('data').textContent);
  const pick = document.getElementById('pick'), plot = document.getElementById('plot'), readout = document.getElementById('readout'), lines = document.getElementById('lines');
  section.hidden = false;
  data.groups.forEach((g, i) => pick.add(new Option(g.name, i)));
  const W = 900, H = 360, L = 70, R = 16, T = 12, B = 34;
  const el = (name, attrs, text) => {
    const e = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const k in attrs) e.setAttribute(k, attrs[k]);
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const duration = (ns) => {
    const [d, u] = ns < 1e3 ? [1, 'ns'] : ns < 1e6 ? [1e3, 'µs'] : ns < 1e9 ? [1e6, 'ms'] : [1e9, 's'];
    return +(ns / d).toPrecision(3) + ' ' + u;
  };
  const percentile = (x) => +(100 * (1 - Math.pow(10, -x))).toPrecision(2 + Math.ceil(Math.max(x, 1))) + '%';
  const color = (c) => c === '#222222' ? 'currentColor' : c;
  let off = new Set(), span = null, cursor = null;
  const curves = () => data.groups[pick.value].curves.filter((c) => !off.has(c.name));
  const draw = () => {
    const all = curves();
    const svg = el('svg', { viewBox: `0 0 ${W} ${H}`, role: 'img', tabindex: 0, 'aria-label': 'Percentile spectrum of ' + data.groups[pick.value].name });
    const xs = span || [0, Math.max(1, ...all.map((c) => c.x[c.x.length - 1]))];
    const inside = all.flatMap((c) => c.ns.filter((_, i) => c.x[i] >= xs[0] && c.x[i] <= xs[1])).map((v) => Math.log10(Math.max(v, 1)));
    if (!inside.length) inside.push(3, 6);
    const lo = Math.min(...inside) - .08, hi = Math.max(...inside) + .08;
    const X = (x) => L + (x - xs[0]) / (xs[1] - xs[0]) * (W - L - R), Y = (y) => H - B - (y - lo) / (hi - lo) * (H - T - B);
    for (let e = Math.floor(lo); e <= hi; e++) for (const m of [1, 2, 5]) {
      const y = e + Math.log10(m);
      if (y < lo || y > hi || (hi - lo > 2.5 && m !== 1)) continue;
      svg.append(el('line', { x1: L, x2: W - R, y1: Y(y), y2: Y(y), class: 'grid' }), el('text', { x: L - 6, y: Y(y) + 4, 'text-anchor': 'end' }, duration(Math.pow(10, y))));
    }
    for (const q of [0, 50, 90, 99, 99.9, 99.99, 99.999]) {
      const x = -Math.log10(1 - q / 100);
      if (x < xs[0] || x > xs[1]) continue;
      svg.append(el('line', { x1: X(x), x2: X(x), y1: T, y2: H - B, class: 'grid' }), el('text', { x: X(x), y: H - B + 18, 'text-anchor': 'middle' }, q + '%'));
    }
    for (const c of all) {
      const d = c.x.map((x, i) => x >= xs[0] && x <= xs[1] ? X(x).toFixed(1) + ',' + Y(Math.log10(Math.max(c.ns[i], 1))).toFixed(1) : '').filter(Boolean).join(' ');
      svg.append(el('polyline', { points: d, fill: 'none', stroke: color(c.color), 'stroke-width': 2, 'stroke-dasharray': c.dash }));
    }
    const mark = el('line', { y1: T, y2: H - B, stroke: 'currentColor', visibility: 'hidden' });
    svg.append(mark);
    const show = (x) => {
      cursor = Math.min(Math.max(x, xs[0]), xs[1]);
      mark.setAttribute('x1', X(cursor)); mark.setAttribute('x2', X(cursor)); mark.setAttribute('visibility', 'visible');
      readout.textContent = percentile(cursor) + ': ' + all.map((c) => {
        const i = c.x.findIndex((v) => v >= cursor - 1e-9);
        return c.name + ' ' + (i < 0 ? 'too few samples' : duration(c.ns[i]));
      }).join(', ');
    };
    const at = (e) => xs[0] + ((e.clientX - svg.getBoundingClientRect().left) * W / svg.getBoundingClientRect().width - L) / (W - L - R) * (xs[1] - xs[0]);
    let from = null;
    svg.addEventListener('pointerdown', (e) => { from = at(e); });
    svg.addEventListener('pointermove', (e) => show(at(e)));
    svg.addEventListener('pointerup', (e) => {
      const to = at(e);
      if (from !== null && Math.abs(to - from) > .05) { span = [Math.max(0, Math.min(from, to)), Math.min(xs[1], Math.max(from, to))]; draw(); }
      from = null;
    });
    svg.addEventListener('dblclick', () => { span = null; draw(); });
    svg.addEventListener('keydown', (e) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
      if (step) { show((cursor === null ? xs[0] : cursor) + step * (xs[1] - xs[0]) / 60); e.preventDefault(); }
      if (e.key === 'Escape') { span = null; draw(); }
    });
    plot.replaceChildren(svg);
  };
  const choose = () => {
    span = cursor = null; off = new Set(); lines.replaceChildren();
    data.groups[pick.value].curves.forEach((c) => {
      const label = document.createElement('label'), box = document.createElement('input'), key = el('svg', { width: 26, height: 8, 'aria-hidden': 'true' });
      box.type = 'checkbox'; box.checked = true;
      box.addEventListener('change', () => { box.checked ? off.delete(c.name) : off.add(c.name); draw(); });
      key.append(el('line', { x1: 0, x2: 26, y1: 4, y2: 4, stroke: color(c.color), 'stroke-width': 2, 'stroke-dasharray': c.dash }));
      label.append(box, ' ', key, ' ' + c.name + ' ');
      lines.append(label);
    });
    draw();
  };
  pick.addEventListener('change', choose);
  choose();
})();
