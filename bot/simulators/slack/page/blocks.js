// Block Kit as DOM nodes.

import { externalSelect } from "/page/external.js";
import { dateNode, drawn, el, emoji, link, mention, textObject, userMention } from "/page/mrkdwn.js";

function styled(node, style = {}) {
  const tags = { bold: "strong", italic: "em", strike: "s", underline: "u", code: "code" };
  return Object.entries(tags).reduce(
    (inner, [key, tag]) => (style[key] ? el(tag, {}, inner) : inner),
    node,
  );
}

function richPart(part, context) {
  switch (part.type) {
    case "text": return styled(drawn(part.text), part.style);
    case "link": return styled(link(part.url, part.text ?? part.url), part.style);
    case "user": return styled(userMention(part.user_id, context), part.style);
    case "usergroup": return mention("group", `@${context.groups[part.usergroup_id] ?? part.usergroup_id}`);
    case "channel": {
      const channel = context.channels.find((one) => one.id === part.channel_id);
      return mention("channel", `#${channel ? channel.name : part.channel_id}`);
    }
    case "broadcast": return mention("broadcast", `@${part.range}`, true);
    case "emoji": return styled(emoji(part.name), part.style);
    case "date": return dateNode(part.timestamp, part.format, part.url);
    default: throw new Error(`rich text ${part.type}`);
  }
}

function richElement(element, context) {
  const parts = () => element.elements.map((part) => richPart(part, context));
  switch (element.type) {
    case "rich_text_section": return el("p", { class: "rich" }, ...parts());
    case "rich_text_preformatted": return el("pre", {}, ...parts());
    case "rich_text_quote": return el("blockquote", { class: "rich" }, ...parts());
    case "rich_text_list": return el(
      element.style === "ordered" ? "ol" : "ul",
      { class: `indent-${element.indent ?? 0}`, start: element.offset ? element.offset + 1 : null },
      ...element.elements.map((item) => el("li", {}, ...item.elements.map((part) => richPart(part, context)))),
    );
    default: throw new Error(`rich text ${element.type}`);
  }
}

function button(element, context, block) {
  const node = el("button", {
    type: "button",
    class: `kit ${element.style ?? ""}`,
    "data-action": element.action_id,
    "data-focus": `${element.action_id} ${element.value ?? ""}`,
    "aria-label": element.accessibility_label ?? null,
  }, textObject(element.text, context));
  node.addEventListener("click", () => context.act(element, node, undefined, block));
  return node;
}

function select(element, context, block) {
  const groups = element.option_groups ?? [{ options: element.options }];
  const chosen = context.value(block, element)?.selected_option?.value;
  const node = el("select", { "data-action": element.action_id });
  node.append(el("option", { value: "", disabled: true, selected: !chosen },
    element.placeholder?.text ?? "Choose an option"));
  for (const group of groups) {
    const into = group.label ? el("optgroup", { label: group.label.text }) : node;
    for (const option of group.options) {
      into.append(el("option", { value: option.value, selected: option.value === chosen }, option.text.text));
    }
    if (into !== node) node.append(into);
  }
  node.addEventListener("change", () => context.changed(block, element, node.value, node));
  return node;
}

function choices(element, context, block, type) {
  const value = context.value(block, element) ?? {};
  const chosen = type === "radio"
    ? [value.selected_option?.value]
    : (value.selected_options ?? []).map((option) => option.value);
  const name = `${context.scope}-${block.block_id}-${element.action_id}`;
  const node = el("div", { class: "choices", role: type === "radio" ? "radiogroup" : "group" });
  for (const option of element.options) {
    const input = el("input", { type, name, value: option.value });
    input.checked = chosen.includes(option.value);
    input.addEventListener("change", () => {
      const picked = [...node.querySelectorAll("input:checked")].map((one) => one.value);
      context.changed(block, element, type === "radio" ? picked[0] : picked, node);
    });
    node.append(el("label", {}, input, el("span", {}, textObject(option.text, context),
      option.description ? el("small", {}, textObject(option.description, context)) : null)));
  }
  return node;
}

function textInput(element, context, block) {
  const node = el(element.multiline ? "textarea" : "input", {
    type: element.multiline ? null : "text",
    rows: element.multiline ? 4 : null,
    placeholder: element.placeholder?.text,
    maxlength: element.max_length ?? 3000,
    "data-action": element.action_id,
    autocomplete: "off",
  });
  node.value = context.value(block, element)?.value ?? "";
  node.addEventListener("input", () => context.changed(block, element, node.value, node));
  return node;
}

function element(item, context, block) {
  switch (item.type) {
    case "button": return button(item, context, block);
    case "static_select": return select(item, context, block);
    case "external_select": return externalSelect(item, context, block);
    case "checkboxes": return choices(item, context, block, "checkbox");
    case "radio_buttons": return choices(item, context, block, "radio");
    case "plain_text_input": return textInput(item, context, block);
    default: throw new Error(`element ${item.type}`);
  }
}

function input(block, context) {
  const node = element(block.element, context, block);
  const field = node.querySelector("input[role=combobox]") ?? node;
  const id = `${context.scope}-${block.block_id}`;
  field.id = id;
  const error = context.errors?.[block.block_id];
  if (error) field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", `${id}-note`);
  return el("div", { class: `input${error ? " wrong" : ""}` },
    el("label", { for: id }, textObject(block.label, context),
      block.optional ? el("small", {}, " (optional)") : null),
    node,
    el("p", { id: `${id}-note`, class: error ? "error" : "hint" },
      error ?? (block.hint ? textObject(block.hint, context) : "")));
}

function blockNode(block, context) {
  switch (block.type) {
    case "section": return el("div", { class: "section" },
      el("div", { class: "words" },
        block.text ? el("p", {}, textObject(block.text, context)) : null,
        block.fields ? el("div", { class: "fields" },
          ...block.fields.map((field) => el("div", {}, textObject(field, context)))) : null),
      block.accessory ? element(block.accessory, context, block) : null);
    case "header": return el("h3", {}, textObject(block.text, context));
    case "divider": return el("hr");
    case "context": return el("div", { class: "context" },
      ...block.elements.map((item) => el("span", {}, textObject(item, context))));
    case "actions": return el("div", { class: "actions" },
      ...block.elements.map((item) => element(item, context, block)));
    case "rich_text": return el("div", { class: "rich-text" },
      ...block.elements.map((item) => richElement(item, context)));
    case "input": return input(block, context);
    default: throw new Error(`block ${block.type}`);
  }
}

/** Render blocks. `context` gives users, channels, groups, me, scope, value(), act(), changed(). */
export function renderBlocks(blocks, context) {
  return el("div", { class: "blocks" }, ...blocks.map((block) => {
    const node = blockNode(block, context);
    node.dataset.block = block.block_id;
    return node;
  }));
}
