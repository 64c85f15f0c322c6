// Slack's text markup as DOM nodes. All text becomes text nodes: nothing is parsed as HTML.

import { DRAWN, icon } from "/page/icons.js";

const EMOJI = {
  rocket: "🚀", tada: "🎉", white_check_mark: "✅", heavy_check_mark: "✔️", x: "❌", warning: "⚠️",
  hourglass: "⌛", hourglass_flowing_sand: "⏳", large_blue_circle: "🔵", large_green_circle: "🟢",
  large_yellow_circle: "🟡", large_orange_circle: "🟠", red_circle: "🔴", white_circle: "⚪",
  black_circle: "⚫", lock: "🔒", unlock: "🔓", eyes: "👀", wave: "👋", "+1": "👍", thumbsup: "👍",
  "-1": "👎", thumbsdown: "👎", rewind: "⏪", leftwards_arrow_with_hook: "↩️", arrows_counterclockwise: "🔄",
  no_entry: "⛔", no_entry_sign: "🚫", octagonal_sign: "🛑", package: "📦", gear: "⚙️", hammer: "🔨",
  hammer_and_wrench: "🛠️", wrench: "🔧", mag: "🔍", memo: "📝", page_facing_up: "📄", clock1: "🕐",
  stopwatch: "⏱️", fire: "🔥", boom: "💥", bell: "🔔", bulb: "💡", question: "❓", grey_question: "❔",
  exclamation: "❗", information_source: "ℹ️", point_right: "👉", raised_hand: "✋", robot_face: "🤖",
  smile: "😄", slightly_smiling_face: "🙂", heart: "❤️", star: "⭐", ship: "🚢", building_construction: "🏗️",
  double_vertical_bar: "⏸️", black_square_for_stop: "⏹️", arrow_forward: "▶️", link: "🔗", key: "🔑",
  busts_in_silhouette: "👥", bust_in_silhouette: "👤", speech_balloon: "💬", satellite: "🛰️",
};

export const emoji = (name) => drawn(EMOJI[name] ?? `:${name}:`);

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const decode = (text) =>
  text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

/** Text in which known emoji are replaced by drawings (icons.js). */
export function drawn(text) {
  const fragment = document.createDocumentFragment();
  let rest = text;
  for (let match = DRAWN.exec(rest); match; match = DRAWN.exec(rest)) {
    fragment.append(rest.slice(0, match.index), icon(match[1]));
    rest = rest.slice(match.index + match[0].length);
  }
  fragment.append(rest);
  return fragment;
}

export const withEmoji = (text) =>
  drawn(text.replace(/:([a-z0-9_+-]+):/g, (whole, name) => EMOJI[name] ?? whole));

export function link(url, label) {
  if (!/^(https?|mailto):/i.test(url)) return document.createTextNode(label);
  return el("a", { href: url, target: "_blank", rel: "noreferrer noopener" }, label);
}

export function mention(kind, label, mine = false) {
  return el("span", { class: `mention ${kind}${mine ? " mine" : ""}` }, label);
}

export function userMention(id, context, label) {
  const user = context.users[id];
  return mention("user", `@${user ? user.name : label || id}`, id === context.me);
}

// Dates ------------------------------------------------------------------------------------

function ago(seconds) {
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const size = Math.abs(seconds);
  const [name, length] = units.find(([, unit]) => size >= unit) ?? units[3];
  const count = Math.floor(size / length);
  const words = `${count} ${name}${count === 1 ? "" : "s"}`;
  return seconds >= 0 ? `${words} ago` : `in ${words}`;
}

const two = (number) => String(number).padStart(2, "0");

export function formatDate(epoch, format) {
  const date = new Date(epoch * 1000);
  const day = (options) => date.toLocaleDateString("en-GB", options);
  return format
    .replaceAll("{date_num}", `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`)
    .replaceAll("{date_short_pretty}", day({ day: "numeric", month: "short", year: "numeric" }))
    .replaceAll("{date_long_pretty}", day({ weekday: "long", day: "numeric", month: "long" }))
    .replaceAll("{date_pretty}", day({ day: "numeric", month: "long", year: "numeric" }))
    .replaceAll("{date_short}", day({ day: "numeric", month: "short", year: "numeric" }))
    .replaceAll("{date_long}", day({ weekday: "long", day: "numeric", month: "long", year: "numeric" }))
    .replaceAll("{date}", day({ day: "numeric", month: "long", year: "numeric" }))
    .replaceAll("{time_secs}", `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`)
    .replaceAll("{time}", `${two(date.getHours())}:${two(date.getMinutes())}`)
    .replaceAll("{ago}", ago(Date.now() / 1000 - epoch));
}

export function dateNode(epoch, format, url) {
  const text = formatDate(epoch, format);
  const node = url ? link(url, text) : el("time", {}, text);
  if (node.dataset) {
    node.dataset.epoch = epoch;
    node.dataset.format = format;
  }
  return node;
}

export function refreshDates() {
  for (const node of document.querySelectorAll("[data-epoch]")) {
    const text = formatDate(Number(node.dataset.epoch), node.dataset.format);
    if (node.textContent !== text) node.textContent = text;
  }
}

// Markup -----------------------------------------------------------------------------------

function token(body, context) {
  const bar = body.indexOf("|");
  const target = bar < 0 ? body : body.slice(0, bar);
  const label = bar < 0 ? "" : decode(body.slice(bar + 1));
  if (target.startsWith("@")) return userMention(target.slice(1), context, label);
  if (target.startsWith("#")) {
    const channel = context.channels.find((one) => one.id === target.slice(1));
    return mention("channel", `#${channel ? channel.name : label || target.slice(1)}`);
  }
  if (target.startsWith("!date^")) {
    const [, epoch, format, url] = target.split("^");
    return dateNode(Number(epoch), decode(format), url && decode(url));
  }
  if (target.startsWith("!subteam^")) {
    const id = target.slice("!subteam^".length);
    return mention("group", label || `@${context.groups[id] ?? id}`);
  }
  if (target.startsWith("!")) return mention("broadcast", `@${label || target.slice(1)}`, true);
  return link(decode(target), label || decode(target));
}

const STYLES = [
  { pattern: /(?<![\p{L}\p{N}*])\*(?=[^\s*])([^*\n]*?[^\s*])\*(?![\p{L}\p{N}*])/u, tag: "strong" },
  { pattern: /(?<![\p{L}\p{N}_])_(?=[^\s_])([^_\n]*?[^\s_])_(?![\p{L}\p{N}_])/u, tag: "em" },
  { pattern: /(?<![\p{L}\p{N}~])~(?=[^\s~])([^~\n]*?[^\s~])~(?![\p{L}\p{N}~])/u, tag: "s" },
];
const CODE = /`([^`\n]+)`/u;
const TOKEN = /<([@#!][^<>\s][^<>]*|(?:https?|mailto):[^<>]+)>/u;
const BARE_URL = /(?:https?:\/\/)[^\s<>|]*[^\s<>|.,;:!?)'"\]]/u;
const BARE_MENTION = /(?<![\p{L}\p{N}])@(here|channel|everyone)\b/u;

function inline(text, context, options) {
  const found = [];
  const look = (pattern, make) => {
    const match = pattern.exec(text);
    if (match) found.push({ match, make });
  };
  look(CODE, (match) => el("code", {}, decode(match[1])));
  look(TOKEN, (match) => token(match[1], context));
  for (const { pattern, tag } of STYLES) {
    look(pattern, (match) => el(tag, {}, ...inline(match[1], context, options)));
  }
  if (!options.verbatim) {
    look(BARE_URL, (match) => link(decode(match[0]), decode(match[0])));
  }
  if (options.mentions) {
    look(BARE_MENTION, (match) => mention("broadcast", match[0], true));
  }
  if (!found.length) return [withEmoji(decode(text))];
  const first = found.reduce((a, b) => (b.match.index < a.match.index ? b : a));
  const end = first.match.index + first.match[0].length;
  const nodes = [];
  if (first.match.index) nodes.push(withEmoji(decode(text.slice(0, first.match.index))));
  nodes.push(first.make(first.match));
  if (end < text.length) nodes.push(...inline(text.slice(end), context, options));
  return nodes;
}

function lines(text, context, options) {
  const nodes = [];
  let quote = null;
  text.split("\n").forEach((line, number) => {
    const quoted = /^(?:&gt;|>) ?/.exec(line);
    const content = inline(quoted ? line.slice(quoted[0].length) : line, context, options);
    if (quoted) {
      if (!quote) nodes.push((quote = el("blockquote")));
      else quote.append(el("br"));
      quote.append(...content);
    } else {
      if (number && !quote) nodes.push(el("br"));
      quote = null;
      nodes.push(...content);
    }
  });
  return nodes;
}

/** `verbatim` does not link addresses; `mentions` turns a bare @here into a mention. */
export function mrkdwn(text, context, { verbatim = false, mentions = !verbatim } = {}) {
  const span = el("span", { class: "mrkdwn" });
  text.split(/```\n?([\s\S]*?)```/u).forEach((part, number) => {
    if (number % 2) span.append(el("pre", {}, decode(part).replace(/\n$/, "")));
    else if (part) span.append(...lines(part, context, { verbatim, mentions }));
  });
  return span;
}

export function textObject(text, context) {
  if (text.type === "mrkdwn") return mrkdwn(text.text, context, { verbatim: text.verbatim });
  return el("span", { class: "plain-text" }, text.emoji === false ? drawn(text.text) : withEmoji(text.text));
}
