"use strict";

// Rows come from rows/*.js, which call addRows. Their text is only ever set as text, never as HTML.
const PER_PAGE = 20;
const DIMENSIONS = ["temporal alignment", "spatial coherence", "contextual relevance", "physical causality", "source visibility", "overall"];
const SOURCES = [["visible", "Seen and heard"], ["invisible", "Heard only"], ["silent", "Seen only"]];
const form = document.getElementById("filters");
const pageField = document.getElementById("page");
const expected = Number(document.body.dataset.rows);
const rows = [];
let found = [];
let page = 1;
let pending = false;

window.addRows = (part) => {
  for (const row of part) rows.push(row);
  later();
};

function later() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => { pending = false; filter(); });
}

function wanted() {
  const given = new FormData(form);
  const minima = DIMENSIONS.map((_, index) => given.get(`min-${index}`)).map((text) => (text === "" ? null : Number(text)));
  return {
    words: given.get("text").toLowerCase().split(/\s+/).filter(Boolean),
    type: given.get("type"),
    minima,
    order: given.get("order"),
    clips: given.has("clips"),
  };
}

function typeName(type) {
  return [...form.elements.type.options].find((option) => option.value === type)?.text ?? type;
}

function text(row) {
  row.searched ??= [row.id, row.label, ...row.captions.map((pair) => pair[1]), ...SOURCES.flatMap(([name]) => row[name] ?? [])]
    .filter(Boolean).join("\n").toLowerCase();
  return row.searched;
}

function matches(row, want) {
  if (want.clips && !row.clip) return false;
  if (want.type && want.type !== (row.type ?? "none")) return false;
  // A score that is null is not low: it is no score, and passes no threshold.
  if (want.minima.some((least, index) => least !== null && !(row.scores[index] !== null && row.scores[index] >= least))) return false;
  return want.words.every((word) => text(row).includes(word));
}

function filter() {
  const want = wanted();
  found = rows.filter((row) => matches(row, want));
  if (want.order) {
    const sign = want.order === "best" ? -1 : 1;
    const value = (row) => row.scores[5] ?? (want.order === "best" ? -1 : 11);
    found.sort((one, other) => sign * (value(one) - value(other)));
  }
  show();
}

function show() {
  const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
  page = Math.min(Math.max(1, Math.trunc(page) || 1), pages);
  const first = (page - 1) * PER_PAGE;
  const part = found.slice(first, first + PER_PAGE);
  document.getElementById("rows").replaceChildren(
    ...(part.length ? part.map(card) : [element("p", "empty", rows.length < expected ? "Loading rows." : "No row fits these filters.")]));
  pageField.value = page;
  pageField.max = pages;
  document.getElementById("pages").value = pages.toLocaleString("en");
  document.getElementById("previous").disabled = page === 1;
  document.getElementById("next").disabled = page === pages;
  const loading = rows.length < expected ? `, loading (${rows.length.toLocaleString("en")} so far)` : "";
  const range = part.length ? `${first + 1}–${first + part.length} of ` : "";
  document.getElementById("count").value = `${range}${found.length.toLocaleString("en")} rows${loading}`;
}

function element(name, className, content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (content !== undefined) made.textContent = content;
  return made;
}

function card(row) {
  const article = element("article");
  article.id = `row-${row.id}`;
  const body = element("div");
  const heading = element("h2", "", row.id);
  if (row.label) heading.append(element("small", "", row.label));
  heading.append(element("span", "badge", typeName(row.type ?? "none")));
  const list = element("dl");
  for (const [name, title] of SOURCES) {
    if (!row[name]) continue;
    const value = element("dd");
    if (row[name].length) value.append(element("ul"));
    else value.textContent = "none";
    for (const source of row[name]) value.firstChild.append(element("li", "", source));
    list.append(element("dt", "", title), value);
  }
  for (const [name, caption] of row.captions) list.append(element("dt", "", name), element("dd", "caption", caption));
  body.append(heading, scores(row), list);
  if (row.reasons) body.append(reasons(row));
  article.append(clip(row), body);
  return article;
}

function clip(row) {
  if (!row.clip) return element("div", "absent", row.status === "ok" ? "no clip here" : `no clip here (${row.status})`);
  const video = element("video");
  video.controls = true;
  video.preload = "metadata";
  video.addEventListener("error", () => video.replaceWith(element("div", "absent", "this clip cannot be played")), { once: true });
  video.src = row.clip;
  return video;
}

function scores(row) {
  const made = element("div", "scores");
  DIMENSIONS.forEach((name, index) => {
    const score = row.scores[index];
    const cell = element("div");
    cell.append(element("b", "", score === null ? "–" : index === 5 ? score.toFixed(1) : String(score)));
    const meter = element("meter");
    meter.max = 10;
    meter.value = score ?? 0;
    meter.setAttribute("aria-label", name);
    cell.append(meter, element("span", "", name));
    made.append(cell);
  });
  return made;
}

function reasons(row) {
  const made = element("details");
  made.append(element("summary", "", "The judge's reasons"));
  const list = element("dl");
  row.reasons.forEach((reason, index) => {
    if (reason) list.append(element("dt", "", DIMENSIONS[index]), element("dd", "", reason));
  });
  made.append(list);
  return made;
}

function turn(to) {
  page = to;
  show();
  window.scrollTo(0, 0);
}

function again() {
  page = 1;
  filter();
}

let waiting;
form.addEventListener("input", (event) => {
  clearTimeout(waiting);
  // Searching all captions at each key would make typing slow.
  if (event.target.name === "text") waiting = setTimeout(again, 120);
  else again();
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(again));
document.getElementById("previous").addEventListener("click", () => turn(page - 1));
document.getElementById("next").addEventListener("click", () => turn(page + 1));
pageField.addEventListener("change", () => turn(Number(pageField.value)));
later();
