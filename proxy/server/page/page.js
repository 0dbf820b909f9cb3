// The admin page: asks /admin/v1 and shows what it says. No build step, nothing from elsewhere; the only thing
// that is kept is the key, for this tab. Text is always set as text, never as markup.

const API = "/admin/v1";
const EVERY = { calls: 1000, models: 3000, spend: 30000 };
const MOST_ROWS = 200;
const $ = (id) => document.getElementById(id);

// --- small things --------------------------------------------------------------------------------

function make(name, attributes = {}, ...children) {
  const space = ["svg", "path", "rect", "title", "text", "line"].includes(name) ? "http://www.w3.org/2000/svg" : null;
  const element = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const dollars = (usd) => (usd === null || usd === undefined ? "–" : `${usd < 0 ? "−" : ""}$${Math.abs(usd).toFixed(usd !== 0 && Math.abs(usd) < 0.01 ? 6 : 4)}`);
const whole = (number) => Math.round(number).toLocaleString("en");
const percent = (share) => `${(100 * share).toFixed(share > 0.995 && share < 1 ? 1 : 0)} %`;
const clock = (unix) => new Date(1000 * unix).toLocaleTimeString();
const seconds = (ms) => (ms === null || ms === undefined ? "–" : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);
const wait = (s) => (s < 120 ? `${s.toFixed(1)} s` : `${Math.round(s / 60)} min`);
// An alert's words differ from one refusal to the next, so that a reader hears each.
const say = (id, text) => { $(id).textContent = text; };

// --- the API -------------------------------------------------------------------------------------

let key = sessionStorage.getItem("kuro-admin-key") || "";

class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function ask(path, body) {
  const headers = { "x-admin-key": key };
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(API + path, { method: body === undefined ? "GET" : "POST", headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new Refused(0, "The proxy doesn't answer.");
  }
  const said = await response.json().catch(() => null);
  if (!response.ok) {
    if (response.status === 401) shut("That key is not the admin key.");
    throw new Refused(response.status, said?.error?.message || `The proxy answered ${response.status}.`);
  }
  return said;
}

// --- views ---------------------------------------------------------------------------------------

const views = ["calls", "models", "spend", "play"];
let view = "calls";
let timer = 0;

function show(name) {
  view = views.includes(name) ? name : "calls";
  for (const each of views) {
    const chosen = each === view;
    $(each).hidden = !chosen;
    $(`tab-${each}`).setAttribute("aria-selected", chosen);
    $(`tab-${each}`).tabIndex = chosen ? 0 : -1;
  }
  if (location.hash !== `#${view}`) history.replaceState(null, "", `#${view}`);
  refresh();
}

const look = { calls: lookAtCalls, models: lookAtModels, spend: lookAtSpend, play: lookAtNames };

async function refresh() {
  clearTimeout(timer);
  if (!key) return;
  const now = view;
  if (!document.hidden) {
    try {
      await look[now]();
      say("status", "");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      say("status", error.message);
    }
  }
  if (key && now === view && EVERY[now]) {
    clearTimeout(timer);
    timer = setTimeout(refresh, EVERY[now]);
  }
}

function open() {
  $("door").hidden = true;
  document.querySelector("nav").hidden = $("leave").hidden = false;
  show(location.hash.slice(1));
}

function shut(reason) {
  key = "";
  sessionStorage.removeItem("kuro-admin-key");
  clearTimeout(timer);
  for (const each of views) $(each).hidden = true;
  document.querySelector("nav").hidden = $("leave").hidden = true;
  if ($("call").open) $("call").close();
  $("door").hidden = false;
  say("door-said", reason);
  $("key").value = "";
  $("key").focus();
}

// --- calls ---------------------------------------------------------------------------------------

let latest = null; // the cursor of the newest call that is shown
let paused = false;
let question = 0; // answers to earlier ones come too late

function filters() {
  const chosen = new URLSearchParams();
  for (const [name, value] of new FormData($("filters"))) if (value) chosen.set(name, value);
  return chosen;
}

async function lookAtCalls() {
  if (paused) return;
  const chosen = filters();
  const body = $("call-table").tBodies[0];
  chosen.set("limit", latest === null ? "100" : "1000");
  if (latest !== null) chosen.set("after", latest);
  const mine = ++question;
  const page = await ask(`/calls?${chosen}`);
  if (mine !== question) return;
  if (page.source !== "database") { // some have no cursors: all of it each time
    const all = latest === null;
    latest = null;
    if (!all) return lookAtCalls();
    body.replaceChildren(...page.data.map((call) => callRow(call, false)));
    say("calls-said", page.source === "memory" ? "Calls are kept in memory only: these are the latest of one process."
      : "Some of these calls could not be kept: they are in one process's memory.");
    return;
  }
  if (latest === null) body.replaceChildren();
  const fresh = latest !== null;
  if (page.data.length) latest = page.data[0].cursor;
  else if (latest === null) latest = 0;
  body.prepend(...page.data.map((call) => callRow(call, fresh)));
  while (body.rows.length > MOST_ROWS) body.lastElementChild.remove();
  say("calls-said", body.rows.length ? "" : "No calls yet that fit.");
}

function callRow(call, fresh) {
  const outcome = call.outcome === "ok" ? "ok" : `${call.outcome} ${call.status}`;
  const tokens = call.prompt_tokens === null ? "–" : `${call.prompt_tokens} + ${call.completion_tokens}`;
  const cells = [
    [clock(call.time)], [call.request_id, "roomy"], [(call.model || call.requested_model || "–") + (call.fallback ? " (fallback)" : "")],
    [call.intent || "–", "roomy"], [call.route || "–", "roomy"],
    [outcome, { ok: "good", caller_left: "faint", refused: "warn" }[call.outcome] || "bad"],
    [tokens, "number roomy"], [dollars(call.cost_usd), "number"], [dollars(call.saved_usd), "number roomy"], [whole(call.latency_ms), "number"],
  ];
  const go = () => showCall(call.request_id);
  return make("tr", {
    tabindex: 0, class: fresh ? "new" : null, "data-id": call.request_id, onclick: go,
    onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); go(); } },
  }, ...cells.map(([text, kind]) => make("td", { class: kind }, text)));
}

async function showCall(id) {
  let call;
  try { call = await ask(`/calls/${encodeURIComponent(id)}`); } catch (error) { say("status", error.message); return; }
  say("call-title", `${id}: ${call.outcome}${call.error_code ? ` (${call.error_code})` : ""}`);
  const parts = [
    facts({
      "asked for": call.requested_model, answered: call.selected_model, "served by": call.response_model,
      intent: call.intent, route: call.route, profile: call.profile, "key": call.key_id,
      "time": new Date(1000 * call.time).toLocaleString(), "took": seconds(call.latency_ms), "first token": seconds(call.ttft_ms),
      "our part": `${(call.overhead_ms || 0).toFixed(2)} ms`, "cost": dollars(call.cost_usd), "wasted": dollars(call.wasted_usd),
      "judge": call.judge_usd ? dollars(call.judge_usd) : null,
      "at the baseline": dollars(call.baseline_usd), "saved": saved(call), "feedback": call.score, "prompt": call.prompt,
    }),
    make("h3", {}, "Attempts"), attempts(call.attempts),
  ];
  if (call.decision) {
    const same = call.decision.same_configuration;
    parts.push(make("p", { class: "faint" }, same ? "The decision:" : "The configuration has changed since. As it would be decided now:"));
    parts.push(...decision(call.decision));
  }
  parts.push(make("details", {}, make("summary", {}, "The whole record"), make("pre", {}, JSON.stringify(call, null, 2))));
  $("call-body").replaceChildren(...parts);
  $("call").showModal();
}

// Unknown is not nothing: it says what is missing.
function saved(call) {
  if (!call.usage) return null;
  if (call.cost_usd === null) return "unknown: the model has no price";
  return call.baseline_usd === null ? "unknown: telemetry.baseline was not set" : dollars(call.baseline_usd - call.cost_usd - call.wasted_usd - call.judge_usd);
}

function facts(pairs) {
  const list = make("dl");
  for (const [name, value] of Object.entries(pairs)) {
    if (value !== null && value !== undefined && value !== "" && value !== "–") list.append(make("dt", {}, name), make("dd", {}, String(value)));
  }
  return list;
}

function attempts(tried) {
  if (!tried?.length) return make("p", { class: "faint" }, "None: it was refused before.");
  return make("ol", {}, ...tried.map((each) => {
    const said = [each.model, each.outcome, each.failure, each.status, each.effort ? `effort ${each.effort}` : null, each.hedge ? "hedge" : null,
      each.seam ? `continued by ${each.seam} after ${each.seam_at} characters` : null,
      each.ttft_ms ? `first token after ${seconds(each.ttft_ms)}` : null, each.reason];
    return make("li", { class: each.outcome === "ok" ? "good" : each.outcome === "skipped" ? "faint" : "bad" }, said.filter(Boolean).join(" · "));
  }));
}

// --- a decision ----------------------------------------------------------------------------------

const hue = (number) => `var(--t${number % 7})`;
// Styles are set through the object model: the page's policy allows no style attributes.
function filled(share, colour, title) {
  const bar = make("i", { title });
  bar.style.width = `${100 * Math.max(0, Math.min(1, share))}%`;
  bar.style.background = colour;
  return bar;
}
const track = (...bars) => make("span", { class: "track", "aria-hidden": "true" }, ...bars);

function decision(told) {
  if (told.refused) return [make("p", { class: "bad" }, told.refused)];
  const parts = [];
  const intents = Object.entries(told.intents || {}).filter(([, share]) => share >= 0.02).slice(0, 6);
  if (intents.length) {
    parts.push(make("h3", {}, "Intents"));
    parts.push(make("div", { class: "rows" }, ...intents.flatMap(([name, share]) => [make("span", {}, name), track(filled(share, "var(--accent)")), make("span", {}, share.toFixed(2))])));
    const effort = told.effort ? `${told.effort.level || "as the model likes"}: ${told.effort.why}` : null;
    parts.push(facts({ difficulty: told.difficulty?.toFixed?.(2), effort, "what spoke": (told.evidence || []).join(", ") }));
  }
  if (told.rungs?.length) {
    parts.push(make("h3", {}, "Ladder"));
    parts.push(make("ol", {}, ...told.rungs.map((rung) => make("li", { class: /^(passed|not asked)/.test(rung.answer) ? "faint" : "" }, `${rung.step}: ${rung.answer}${rung.took_us ? ` · ${rung.took_us} µs` : ""}`))));
  }
  const scores = Object.entries(told.scores || {});
  if (scores.length) parts.push(make("h3", {}, "Scores"), scoreRows(scores));
  const left = Object.entries(told.filtered || {});
  if (left.length) parts.push(make("h3", {}, "Left out"), make("ol", {}, ...left.map(([model, reason]) => make("li", {}, `${model}: ${reason}`))));
  parts.push(make("h3", {}, `Plan, by ${told.step}`), make("ol", {}, ...(told.plan || []).map((model) => make("li", {}, model))));
  // Of a model that was named the request is not read: nothing is known, rather than 0.
  if (told.features?.prompt_tokens) parts.push(facts(Object.fromEntries(Object.entries(told.features).map(([name, value]) => [name.replaceAll("_", " "), Array.isArray(value) ? value.join(", ") : value]))));
  return parts;
}

function scoreRows(scores) {
  const terms = Object.keys(scores[0][1]).filter((name) => name !== "total" && typeof scores[0][1][name] === "number");
  const legend = make("p", { class: "legend" }, ...terms.map((name, number) => {
    const spot = make("i"); spot.style.background = hue(number);
    return make("span", {}, spot, name);
  }));
  const rows = scores.flatMap(([model, its]) => [
    make("span", {}, model),
    make("span", {}, ...terms.map((name, number) => {
      const bar = track(filled(its[name], hue(number), `${name} ${its[name]}`));
      bar.style.height = ".35rem";
      return bar;
    })),
    make("span", {}, its.total.toFixed(3)),
    make("small", { class: "faint" }, terms.map((name) => `${name} ${its[name].toFixed(3)}`).join(" · ")),
  ]);
  return make("div", {}, legend, make("div", { class: "rows" }, ...rows));
}

// --- models --------------------------------------------------------------------------------------

async function lookAtModels() {
  const [models, trends] = await Promise.all([ask("/models"), ask("/trends?since=1h").catch(() => ({ data: [] }))]);
  const points = Object.fromEntries(trends.data.map((trend) => [trend.model, trend.points]));
  const focused = document.activeElement?.dataset?.what;
  const opened = new Set([...$("models").querySelectorAll("details[open]")].map((each) => each.closest("article").dataset.model));
  $("models").firstElementChild.replaceChildren(...models.data.map((model) => modelCard(model, points[model.id] || [], opened.has(model.id))));
  say("models-said", models.silent.length ? `Says nothing at present: worker ${models.silent.join(", ")}.` : "");
  if (focused) document.querySelector(`[data-what="${CSS.escape(focused)}"]`)?.focus();
}

const STATES = { closed: ["good", "● closed"], half_open: ["warn", "◐ half open"], open: ["bad", "○ open"] };

function modelCard(model, points, opened) {
  const circuit = model.circuit || { state: "closed" };
  const [kind, state] = STATES[circuit.state] || ["faint", circuit.state];
  const seen = model.observed || {};
  const { disabled, forced } = model;
  const chip = (is, text) => [" ", make("span", { class: `chip ${is}` }, text)];
  const act = (label, path, body) => make("button", {
    "data-what": `${model.id} ${label}`,
    onclick: async () => {
      try { await ask(path, body); await lookAtModels(); say("status", `${model.id}: ${label.toLowerCase()} done`); } catch (error) { say("status", error.message); }
    },
  }, label);
  const learned = Object.values(model.workers).some((seen) => Object.keys(seen.moved).length);
  const circuits = `/models/${model.id.split("/").map(encodeURIComponent).join("/")}`;
  return make("article", { class: "card", "data-model": model.id },
    make("h2", {}, model.id, ...chip(kind, state), ...(forced ? chip("warn", "forced") : []),
      ...(circuit.throttled_for ? chip("warn", "throttled") : []), ...(disabled ? chip("warn", "disabled") : [])),
    facts({
      provider: model.provider, upstream: model.upstream_model,
      success: seen.success === undefined ? "not seen yet" : `${percent(seen.success)} of ${whole(seen.evidence)} lately`,
      "first token": seen.ttft ? `${seconds(1000 * seen.ttft)}${seen.success < 1 ? ", failures as slow ones" : ""}` : null, speed: seen.speed ? `${whole(seen.speed)} tokens/s` : null,
      "because": circuit.state !== "closed" && !forced ? circuit.reason : null,
      "throttled for": circuit.throttled_for ? wait(circuit.throttled_for) : null,
      "asked again in": circuit.retry_after && !disabled && !forced ? wait(circuit.retry_after) : null,
      "forced by": forced ? `${forced.by}, ${new Date(1000 * forced.since).toLocaleString()}` : null,
      learned: learned ? moved(Object.values(model.workers)) : null, failures: circuit.failures || null, "disabled until": disabled?.until ? new Date(1000 * disabled.until).toLocaleString() : null, reason: disabled?.reason,
    }),
    spark("success", points.map((point) => [point.at, point.attempts ? point.ok / point.attempts : null, point.attempts]), 1),
    spark("first token", points.map((point) => [point.at, point.ttft_ms, point.ok]), null),
    byWorker(model, opened),
    make("div", { class: "bar" }, make("span", { class: "faint" }, "Circuit"),
      act("Open", `${circuits}/circuit`, { action: "open" }), act("Close", `${circuits}/circuit`, { action: "close" }), act("Reset", `${circuits}/circuit`, { action: "reset" }),
      learned ? act("Forget what was learned", "/weights/reset", { model: model.id }) : null,
      disabled ? act("Enable", `${circuits}/enable`, {}) : act("Disable for 1 h", `${circuits}/disable`, { for: 3600, reason: "by hand, on the page" })));
}

// What lasting evidence has moved of one worker's terms, or of several: from the least to the most.
function moved(workers) {
  const terms = [...new Set(workers.flatMap((seen) => Object.keys(seen.moved)))];
  const signed = (by) => `${by < 0 ? "−" : "+"}${Math.abs(by).toFixed(2)}`;
  return terms.map((term) => {
    const by = workers.map((seen) => seen.moved[term] || 0).sort((a, b) => a - b);
    return `${term} ${[...new Set([signed(by[0]), signed(by.at(-1))])].join(" to ")}`;
  }).join(", ");
}

// Each worker has circuits and observations of its own.
function byWorker({ id, workers }, opened) {
  const names = Object.keys(workers);
  if (names.length < 2) return null;
  const told = ({ circuit, observed, in_flight, ...seen }) => [
    (STATES[circuit.state] || ["", circuit.state])[1], observed.evidence > 0 ? `success ${percent(observed.success)}` : "not seen yet",
    observed.evidence > 0 && observed.ttft ? `first token ${seconds(1000 * observed.ttft)}` : null,
    in_flight ? `${whole(in_flight)} open calls` : null, moved([seen]) ? `learned ${moved([seen])}` : null,
  ].filter(Boolean).join(" · ");
  return make("details", { open: opened }, make("summary", { "data-what": `${id} workers` }, `${names.length} workers`),
    facts(Object.fromEntries(names.map((name) => [`worker ${name}`, told(workers[name])]))));
}

// The last hour as a line, and on average over what was [when, seen, how often]; a minute without attempts is a gap.
function spark(name, points, top) {
  const known = points.filter(([, value]) => value !== null && value !== undefined);
  if (!known.length) return null;
  const most = top ?? Math.max(...known.map(([, value]) => value)) * 1.1;
  const now = Date.now() / 1000;
  let path = "", last = null;
  for (const [at, value] of known) {
    const x = (300 * Math.max(0, 3600 - (now - at))) / 3600, y = 30 - (28 * value) / (most || 1);
    path += `${last !== null && at - last <= 180 ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}${last === null || at - last > 180 ? "l3 0" : ""}`;
    last = at;
  }
  const told = (value) => (top ? percent(value) : seconds(value));
  const often = known.reduce((sum, [, , times]) => sum + times, 0);
  const said = told(known.reduce((sum, [, value, times]) => sum + value * times, 0) / (often || 1));
  const label = `${name} over the last hour: ${said} on average, ${told(known.at(-1)[1])} at last`;
  return make("div", {}, make("span", { class: "faint" }, `${name}, last hour: ${said}`),
    make("svg", { class: "spark", viewBox: "0 0 300 32", preserveAspectRatio: "none", role: "img", "aria-label": label }, make("path", { d: path })));
}

// --- spend ---------------------------------------------------------------------------------------

async function lookAtSpend() {
  const days = Number(new FormData($("period")).get("days"));
  const { data } = await ask(`/spend?since=${days}d`);
  const sum = (name) => data.reduce((total, row) => total + (row[name] || 0), 0);
  const unknown = sum("saved_unknown");
  const known = !unknown || data.some((row) => row.model && row.saved_usd !== null);
  $("spend-figures").replaceChildren(...[
    ["calls", whole(sum("calls"))], ["cost", dollars(sum("cost_usd"))], ["wasted", dollars(sum("wasted_usd"))], ...(sum("judge_usd") ? [["judge", dollars(sum("judge_usd"))]] : []),
    known ? [unknown ? `saved; unknown of ${whole(unknown)} calls` : "saved", dollars(sum("saved_usd"))]
      : [sum("baseline_usd") ? "saved: no price is known" : "saved: set telemetry.baseline", "unknown"],
  ].map(([name, value]) => make("div", {}, make("strong", {}, value), name)));
  $("spend-table").tBodies[0].replaceChildren(...[...data].reverse().map((row) => make("tr", {},
    make("td", {}, row.day), make("td", {}, row.model || "none answered"),
    ...[whole(row.calls), whole(row.failed), whole(row.prompt_tokens), whole(row.completion_tokens), dollars(row.cost_usd) + (row.cost_unknown ? ` + ${row.cost_unknown} unknown` : ""), dollars(row.wasted_usd), dollars(row.saved_usd)].map((text) => make("td", { class: "number" }, text)))));
  $("spend-chart").replaceChildren(chart(data));
}

function chart(data) {
  const days = [...new Set(data.map((row) => row.day))];
  const models = [...new Set(data.filter((row) => row.cost_usd > 0).map((row) => row.model))];
  if (!models.length) return make("p", { class: "faint" }, "Nothing was spent.");
  const total = Object.fromEntries(days.map((day) => [day, data.filter((row) => row.day === day).reduce((sum, row) => sum + row.cost_usd, 0)]));
  const most = Math.max(...Object.values(total));
  const wide = 60;
  const picture = make("svg", { viewBox: `0 0 ${Math.max(days.length * wide, 240)} 180`, role: "img", "aria-label": `Cost by day, at most ${dollars(most)}` });
  picture.style.maxWidth = `${days.length * 90 + 120}px`;
  days.forEach((day, number) => {
    let foot = 150;
    for (const row of data.filter((each) => each.day === day && each.cost_usd > 0)) {
      const high = (130 * row.cost_usd) / most;
      foot -= high;
      const bar = make("rect", { x: number * wide + 8, y: foot, width: wide - 16, height: high }, make("title", {}, `${day} ${row.model} ${dollars(row.cost_usd)}`));
      bar.style.fill = hue(models.indexOf(row.model));
      picture.append(bar);
    }
    for (const [text, y] of [[day.slice(5), 166], [dollars(total[day]), foot - 5]]) {
      const label = make("text", { x: number * wide + wide / 2, y, "text-anchor": "middle", "font-size": 10 }, text);
      label.style.fill = "var(--faint)";
      picture.append(label);
    }
  });
  const legend = make("p", { class: "legend" }, ...models.map((model, number) => { const spot = make("i"); spot.style.background = hue(number); return make("span", {}, spot, model); }));
  return make("div", {}, picture, legend);
}

// --- playground ----------------------------------------------------------------------------------

let sending = null;

async function lookAtNames() {
  const models = await ask("/models");
  const select = $("ask").elements.model;
  const names = ["auto", "auto:cheap", "auto:fast", "auto:best", ...models.data.map((model) => model.id)];
  if (select.options.length !== names.length) select.replaceChildren(...names.map((name) => make("option", {}, name)));
  $("model-names").replaceChildren(...models.data.map((model) => make("option", { value: model.id })));
}

async function explain(model, prompt) {
  const told = await ask("/explain", { model, prompt });
  $("decision").replaceChildren(make("div", { class: "card" }, ...decision(told)));
}

async function send(model, prompt, caller) {
  sending = new AbortController();
  $("stop").hidden = false;
  const text = make("p", { class: "said" }), about = make("p", { class: "faint" }), tried = make("div");
  $("answer").replaceChildren(make("div", { class: "card" }, make("h3", {}, "Answer"), text, about, tried));
  const began = performance.now();
  let first = null;
  try {
    const headers = { "content-type": "application/json", "x-kuro-trace": "1" };
    if (caller) headers.authorization = `Bearer ${caller}`;
    const body = JSON.stringify({ model, stream: true, stream_options: { include_usage: true }, messages: [{ role: "user", content: prompt }] });
    const response = await fetch("/v1/chat/completions", { method: "POST", headers, body, signal: sending.signal });
    if (!response.ok) throw new Refused(response.status, (await response.json()).error.message);
    const head = (name) => response.headers.get(`x-kuro-${name}`);
    let usage = null;
    for await (const chunk of events(response.body)) {
      if (chunk.error) throw new Refused(200, chunk.error.message);
      if (chunk.kuro) { $("decision").replaceChildren(make("div", { class: "card" }, ...decision(chunk.kuro))); tried.replaceChildren(make("h3", {}, "Attempts"), attempts(chunk.kuro.attempts)); }
      const said = chunk.choices?.[0]?.delta?.content;
      if (said) { first ??= performance.now() - began; text.append(said); }
      usage = chunk.usage || usage;
      about.textContent = [head("model"), `by ${head("route")}`, first && `first token ${seconds(first)}`, seconds(performance.now() - began), usage && `${usage.prompt_tokens} + ${usage.completion_tokens} tokens`].filter(Boolean).join(" · ");
    }
  } catch (error) {
    if (error.name === "AbortError") about.textContent += " · stopped";
    else say("ask-said", error.message);
  } finally {
    sending = null;
    $("stop").hidden = true;
  }
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data: ") && line !== "data: [DONE]") yield JSON.parse(line.slice(6));
  }
}

// --- what is pressed -----------------------------------------------------------------------------

$("door").addEventListener("submit", async (event) => {
  event.preventDefault();
  say("door-said", "");
  key = $("key").value.trim();
  try {
    await ask("/models");
    sessionStorage.setItem("kuro-admin-key", key);
    $("key").value = "";
    open();
  } catch (error) { if (key) shut(error.message); }
});
$("leave").addEventListener("click", () => shut(""));
for (const each of views) $(`tab-${each}`).addEventListener("click", () => show(each));
document.querySelector("nav").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  show(views[(views.indexOf(view) + step + views.length) % views.length]);
  $(`tab-${view}`).focus();
});
for (const kind of ["input", "change"]) {
  $("filters").addEventListener(kind, () => { latest = null; $("call-table").tBodies[0].replaceChildren(); refresh(); });
  $("period").addEventListener(kind, refresh);
}
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("pause").addEventListener("click", () => { paused = !paused; $("pause").setAttribute("aria-pressed", paused); $("pause").textContent = paused ? "Go on" : "Pause"; });
$("call").querySelector("[data-close]").addEventListener("click", () => $("call").close());
$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  say("ask-said", "");
  const { model, prompt, caller } = Object.fromEntries(new FormData($("ask")));
  try {
    if (event.submitter?.value === "send") { if (!sending) await send(model, prompt, caller); }
    else await explain(model, prompt);
  } catch (error) { say("ask-said", error.message); }
});
$("stop").addEventListener("click", () => sending?.abort());
document.addEventListener("visibilitychange", refresh);
window.addEventListener("hashchange", () => { if (key) show(location.hash.slice(1)); });

if (key) open(); else shut("");
