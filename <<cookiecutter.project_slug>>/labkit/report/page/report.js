// What a report can be asked: its table, filtered, sorted and grouped, and its charts. Texts of runs are only ever set as
// text, never as markup; for Plotly, which reads some markup, they are escaped.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const ROWS = 50;
  const COLOUR = "#4477aa";
  const place = new Map(data.columns.map((column, index) => [column, index]));
  const state = { filter: "", sort: "started", descending: true, page: 1, grouping: "runs", columns: [] };
  let page = [];

  const make = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const read = (row, column) => (place.has(column) ? row[place.get(column)] : null);
  const isAbsent = (value) => value === null || value === undefined || Number.isNaN(value);
  const twoDigits = (number) => String(number).padStart(2, "0");

  const show = (value, column) => {
    if (isAbsent(value)) return "";
    if (typeof value === "string") return value;
    if (column === "started") {
      const time = new Date(value);
      const date = [time.getFullYear(), twoDigits(time.getMonth() + 1), twoDigits(time.getDate())].join("-");
      return `${date} ${twoDigits(time.getHours())}:${twoDigits(time.getMinutes())}`;
    }
    if (column === "took") {
      if (value < 60) return `${value.toFixed(1)} s`;
      if (value < 3600) return `${Math.floor(value / 60)} min ${twoDigits(Math.floor(value % 60))} s`;
      return `${Math.floor(value / 3600)} h ${twoDigits(Math.floor((value % 3600) / 60))} min`;
    }
    return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)));
  };

  const NUMBER = /^-?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?$/; // as in column.py
  const toNumber = (text) => (NUMBER.test(text) && Number.isFinite(Number(text)) ? Number(text) : text);
  const compare = (one, other) => {
    if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1;
    return one < other ? -1 : one > other ? 1 : 0;
  };
  const SIGNS = {
    "=": (order) => order === 0, "<": (order) => order < 0, ">": (order) => order > 0,
    "<=": (order) => order <= 0, ">=": (order) => order >= 0,
  };
  const TERM = /("[^"]+"|[^\s"<>=!~]+)\s*(<=|>=|!=|=|<|>|~)\s*("[^"]*"|[^\s"]+)|"([^"]*)"|(\S+)/g;

  const parseCondition = (text) => {
    const terms = [...text.matchAll(TERM)].map(([, name, sign, value, quoted, word]) => {
      if (!sign) {
        const wanted = (quoted ?? word).toLowerCase();
        return (row) => row.some((cell) => typeof cell === "string" && cell.toLowerCase().includes(wanted));
      }
      const column = name.replaceAll('"', "");
      const bare = value.replaceAll('"', "");
      if (sign === "~") return (row) => show(read(row, column), column).toLowerCase().includes(bare.toLowerCase());
      const other = column === "started" ? bare : toNumber(bare);
      const holds = (row, way) => {
        const cell = read(row, column);
        const own = column === "started" ? show(cell, column) : cell;
        return !isAbsent(cell) && typeof own === typeof other && SIGNS[way](compare(own, other));
      };
      return sign === "!=" ? (row) => !holds(row, "=") : (row) => holds(row, sign);
    });
    return (row) => terms.every((term) => term(row));
  };

  const sorted = (rows, value) => {
    const present = rows.filter((row) => !isAbsent(value(row)));
    const absent = rows.filter((row) => isAbsent(value(row)));
    present.sort((one, other) => compare(value(one), value(other)) * (state.descending ? -1 : 1));
    return [...present, ...absent];
  };
  const selectRuns = () => sorted(data.rows.filter(parseCondition(state.filter)), (row) => read(row, state.sort));

  const stateOf = (text) => make("span", text, { class: /^[a-z]+$/.test(text) ? `state ${text}` : "state" });
  const nameOf = (row) => {
    const cell = make("td", undefined, { class: "name" });
    const identifier = read(row, "id");
    const has = data.details.includes(identifier);
    cell.append(has ? make("a", read(row, "name"), { href: `#run-${identifier}` }) : make("span", read(row, "name")));
    return cell;
  };
  const cellOf = (value, column) => {
    const cell = make("td");
    if (column === "state" && value) cell.append(stateOf(value));
    else cell.textContent = show(value, column);
    if (typeof value === "number") cell.className = "number";
    return cell;
  };

  const isSession = (row) => read(row, "session") === read(row, "id");
  const hasFinished = (row) => read(row, "state") === "finished";
  const counted = (rows) => (rows.some(hasFinished) ? rows.filter(hasFinished) : rows);
  // As in configuration.py: one run a seed, the newest that has finished, or the newest where none has.
  const groupRows = (rows) => {
    const names = new Map(rows.filter(isSession).map((row) => [read(row, "id"), read(row, "name")]));
    const groups = new Map();
    for (const row of rows.filter((one) => !isSession(one))) {
      const identifier = state.grouping === "sessions" ? read(row, "session") ?? "no session" : "";
      const key = JSON.stringify([identifier, row[row.length - 1]]);
      if (!groups.has(key)) groups.set(key, { identifier, session: names.get(identifier) ?? identifier, seeds: new Map() });
      const { seeds } = groups.get(key);
      const other = seeds.get(read(row, "seed"));
      const isBetter = other && (hasFinished(row) - hasFinished(other) || read(row, "started") - read(other, "started")) > 0;
      if (!other || isBetter) seeds.set(read(row, "seed"), row);
    }
    return [...groups.values()].map((group) => ({ ...group, rows: [...group.seeds.values()] }));
  };
  const statistic = (group, column) => {
    const values = counted(group.rows).map((row) => read(row, column)).filter((value) => typeof value === "number" && Number.isFinite(value));
    if (!data.metrics.includes(column) || !values.length) return null;
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    return { mean, deviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : null };
  };
  const groupValue = (group, column) => {
    const found = statistic(group, column);
    if (found) return found.mean;
    const values = group.rows.map((row) => read(row, column));
    if (column === "started" || column === "took") return Math.max(...values.map((value) => value ?? 0));
    return values.every((value) => value === values[0]) ? values[0] : null;
  };
  const groupCell = (group, column) => {
    const found = statistic(group, column);
    if (!found || found.deviation === null) return cellOf(groupValue(group, column), column);
    const digits = found.deviation > 0 ? Math.min(8, Math.max(0, 1 - Math.floor(Math.log10(found.deviation)))) : 4;
    const cell = make("td", found.mean.toFixed(digits), { class: "number" });
    cell.append(make("span", ` ± ${found.deviation.toFixed(digits)}`, { class: "deviation" }));
    return cell;
  };
  const seedsOf = (group) => {
    const cell = make("td", undefined, { class: "seeds" });
    cell.append(make("span", String(group.rows.length), { class: "count" }));
    const seeds = group.rows.map((row) => read(row, "seed")).filter((seed) => !isAbsent(seed));
    cell.append(` ${seeds.sort(compare).slice(0, 12).join(" ")}${seeds.length > 12 ? " …" : ""}`);
    return cell;
  };

  const drawTable = () => {
    const target = document.getElementById("table");
    const rows = selectRuns();
    const columns = state.columns.length ? state.columns : data.shown;
    const groups = state.grouping === "runs" ? null : sortGroups(groupRows(rows));
    const entries = groups ?? rows;
    const pages = Math.max(1, Math.ceil(entries.length / ROWS));
    state.page = Math.min(state.page, pages);
    page = entries.slice((state.page - 1) * ROWS, state.page * ROWS);
    const head = make("tr");
    for (const column of [groups ? "seeds" : "name", ...columns]) {
      const title = make("th");
      const arrow = column === state.sort ? (state.descending ? " ↓" : " ↑") : "";
      const button = make("a", (data.labels[column] ?? column) + arrow, { href: "#runs", role: "button" });
      button.addEventListener("click", (event) => {
        event.preventDefault();
        state.descending = column === state.sort ? !state.descending : column !== "name";
        state.sort = column;
        state.page = 1;
        drawTable();
      });
      if (column === state.sort) title.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
      title.append(button);
      head.append(title);
    }
    const body = make("tbody");
    let session = "";
    for (const entry of page) {
      const line = make("tr");
      if (groups && entry.identifier !== session) {
        session = entry.identifier;
        const heading = make("tr");
        heading.append(make("th", entry.session, { class: "session", colspan: String(columns.length + 1) }));
        body.append(heading);
      }
      line.append(groups ? seedsOf(entry) : nameOf(entry));
      line.append(...columns.map((column) => (groups ? groupCell(entry, column) : cellOf(read(entry, column), column))));
      body.append(line);
    }
    const table = make("table");
    const titles = make("thead");
    titles.append(head);
    table.append(titles, body);
    target.replaceChildren(table);
    const of = rows.length < data.rows.length ? ` of ${data.rows.length}` : "";
    const noun = groups ? `${groups.length} configurations · ${rows.length}${of} runs` : `${rows.length}${of} runs`;
    document.getElementById("count").textContent = noun;
    drawPager(pages);
  };
  const sortGroups = (groups) => {
    if (state.grouping === "sessions") {
      const order = [...new Set(groups.map((group) => group.identifier))];
      return order.flatMap((one) => sorted(groups.filter((group) => group.identifier === one), (group) => groupValue(group, state.sort)));
    }
    return sorted(groups, (group) => groupValue(group, state.sort));
  };
  const drawPager = (pages) => {
    const pager = document.getElementById("pager");
    pager.replaceChildren();
    const turn = (text, to) => {
      const button = make("a", text, { href: "#runs", role: "button" });
      button.addEventListener("click", (event) => { event.preventDefault(); state.page = to; drawTable(); });
      pager.append(button);
    };
    if (state.page > 1) turn("← previous", state.page - 1);
    if (pages > 1) pager.append(make("span", `page ${state.page} of ${pages}`));
    if (state.page < pages) turn("next →", state.page + 1);
  };

  const plain = (text) => String(text).replace(/\s+/g, " ").slice(0, 80)
    .replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const CONFIG = { displayModeBar: false, responsive: true };
  const drawRelation = () => {
    const [x, y] = ["x", "y"].map((name) => document.getElementById(name).value);
    const rows = selectRuns().filter((row) => !isAbsent(read(row, x)) && !isAbsent(read(row, y)));
    const varied = data.parameters.filter((name) => rows.some((row) => read(row, name) !== read(rows[0], name)));
    const text = rows.map((row) => [`<b>${plain(read(row, "name"))}</b>`,
      ...varied.filter((name) => !isAbsent(read(row, name)))
        .map((name) => `${plain(data.labels[name] ?? name)}  ${plain(show(read(row, name), name))}`)].join("<br>"));
    const values = (column) => rows.map((row) => { const cell = read(row, column); return typeof cell === "string" ? plain(cell) : cell; });
    const layout = structuredClone(data.layout);
    layout.xaxis.title.text = plain(data.labels[x] ?? x);
    layout.yaxis.title.text = plain(data.labels[y] ?? y);
    const trace = { type: rows.length > 2000 ? "scattergl" : "scatter", mode: "markers", x: values(x), y: values(y), text,
      hovertemplate: "%{text}<extra></extra>", marker: { size: 8, opacity: 0.8, color: COLOUR } };
    Plotly.react(document.getElementById("relation-chart"), [trace], layout, CONFIG);
  };

  const chooseCurves = () => {
    const chosen = document.getElementById("metric").value;
    for (const holder of document.querySelectorAll("[data-metric]")) holder.hidden = holder.dataset.metric !== chosen;
  };
  // Plotly's megabytes are read only when the first chart comes into view: the table is there at once.
  const loadPlotly = () => {
    if (!window.Plotly) document.head.append(make("script", document.getElementById("plotly").textContent));
  };
  const draw = (target) => {
    if (target.dataset.drawn) return;
    target.dataset.drawn = "yes";
    loadPlotly();
    if (target.id === "relation-chart") {
      drawRelation();
      return;
    }
    const figure = JSON.parse(document.getElementById(target.dataset.figure).textContent);
    Plotly.newPlot(target, figure.data, figure.layout, CONFIG);
  };

  const bind = (identifier, event, act) => document.getElementById(identifier)?.addEventListener(event, act);
  const redraw = () => { drawTable(); if (document.querySelector("#relation-chart[data-drawn]")) drawRelation(); };
  bind("filter", "input", (event) => { state.filter = event.target.value; state.page = 1; redraw(); });
  bind("grouping", "change", (event) => { state.grouping = event.target.value; state.page = 1; drawTable(); });
  bind("columns", "change", (event) => { state.columns = [...event.target.selectedOptions].map((option) => option.value); drawTable(); });
  for (const name of ["x", "y"]) bind(name, "change", drawRelation);
  bind("metric", "change", chooseCurves);
  document.getElementById("table") && drawTable();
  document.getElementById("metric") && chooseCurves();
  const charts = document.querySelectorAll("[data-figure], #relation-chart");
  const seen = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)));
  charts.forEach((chart) => seen.observe(chart));
  addEventListener("beforeprint", () => charts.forEach(draw));
  const openTarget = () => document.querySelector(`details[id="${CSS.escape(location.hash.slice(1))}"]`)?.setAttribute("open", "");
  addEventListener("hashchange", openTarget);
  openTarget();
  document.documentElement.dataset.ready = "yes";
})();
