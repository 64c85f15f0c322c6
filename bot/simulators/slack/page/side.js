// The right column: the thread, the webhooks received and the troubles.

import { arrows } from "/page/focus.js";
import { showPanel } from "/page/panel.js";
import { showTroubles } from "/page/troubles.js";

const $ = (id) => document.getElementById(id);
const wide = matchMedia("(min-width: 1081px)");
const NAMES = ["thread", "panel", "troubles"];

/** Whether the column may be open beside the messages without a click. */
export const panelFits = (here) => Boolean(here.state.panel) && here.panelWanted && wide.matches;

const possible = (here, name) =>
  ({ thread: true, panel: Boolean(here.state.panel), troubles: Boolean(here.state.troubles) })[name];

/** Show the column as `here.side` says. `run` and `fill`: see troubles.js. */
export function showSide(here, { run, fill }) {
  const { panel, troubles } = here.state;
  const choice = here.side && possible(here, here.side) ? here.side : null;
  $("frame").classList.toggle("with-side", Boolean(choice));
  $("side").hidden = !choice;
  for (const name of NAMES) {
    const tab = $(`tab-${name}`);
    $(name).hidden = choice !== name;
    tab.hidden = !possible(here, name);
    tab.setAttribute("aria-selected", String(choice === name));
    tab.tabIndex = choice === name ? 0 : -1;
  }
  $("side-open").hidden = Boolean(choice) || !(panel || troubles);
  if (panel) {
    const count = $("panel-count");
    if (count.textContent !== String(panel.length)) {
      count.textContent = String(panel.length);
      count.classList.remove("counted");
      requestAnimationFrame(() => count.classList.add("counted"));
    }
    showPanel($("deliveries"), panel);
  }
  if (troubles) showTroubles(troubles, run, fill);
}

/** Listen to the tabs. `open(name)` and `close()` change what is shown. */
export function listenToSide(here, { open, close, draw }) {
  const tabs = () => NAMES.map((name) => $(`tab-${name}`)).filter((tab) => !tab.hidden);
  const nameOf = (tab) => tab.id.replace("tab-", "");
  for (const name of NAMES) $(`tab-${name}`).addEventListener("click", () => open(name));
  arrows($("tabs"), tabs, (tab) => open(nameOf(tab)), { next: "ArrowRight", before: "ArrowLeft" });
  $("side-open").addEventListener("click", () => {
    here.panelWanted = true;
    open(here.state.panel ? "panel" : "troubles");
    document.querySelector("#tabs [aria-selected=true]").focus();
  });
  $("side-close").addEventListener("click", close);
  wide.addEventListener("change", () => {
    if (!here.state) return;
    if (here.side !== "thread") here.side = panelFits(here) ? "panel" : null;
    draw();
  });
}
