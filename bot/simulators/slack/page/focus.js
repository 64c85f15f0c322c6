// Where the keyboard is: kept when a part of the page is redrawn, and given back by dialogs.

const PLACES = "#messages [data-ts], #replies [data-ts], #home, #sidebar, #side, #alerts, #place, #modal";
const CONTROLS = "button, input, select, textarea, summary, a[href], [tabindex]";

const keyOf = (node) =>
  node.dataset.focus ?? node.dataset.action ?? (node.id || node.getAttribute("aria-label") || node.textContent);

const named = (place, key) => [...place.querySelectorAll(CONTROLS)].filter((one) => keyOf(one) === key);

/** Redraw a part of the page; what had the focus in it has it again, if it is still there. */
export function keepFocus(place, redraw) {
  const active = document.activeElement;
  if (!active || active === place || !place.contains(active)) return redraw();
  const key = keyOf(active);
  const number = named(place, key).indexOf(active);
  const caret = active.selectionStart;
  const result = redraw();
  if (active.isConnected) return result;
  const same = named(place, key);
  const alike = active.dataset.action && place.querySelector(`[data-action="${CSS.escape(active.dataset.action)}"]`);
  const again = same[number] ?? same.at(-1) ?? alike;
  again?.focus({ preventScroll: true });
  if (again && typeof caret === "number" && again.selectionStart !== null) again.setSelectionRange(caret, caret);
  return result;
}

/** Remember what has the focus. The result gives it back, also to its successor after a redraw. */
export function remember() {
  const active = document.activeElement;
  const place = active?.closest(PLACES);
  const list = place?.closest("ol");
  const selector = place && (place.dataset.ts ? `#${list.id} [data-ts="${place.dataset.ts}"]` : `#${place.id}`);
  const key = active && keyOf(active);
  return () => {
    if (active?.isConnected && active !== document.body) return active.focus();
    const now = selector && document.querySelector(selector);
    const again = now && (named(now, key)[0] ?? now);
    (again ?? document.querySelector("#composer textarea")).focus();
  };
}

/** Move with the arrow keys among the controls that `find` returns; `choose` is called with the new one. */
export function arrows(place, find, choose, keys = { next: "ArrowDown", before: "ArrowUp" }) {
  place.addEventListener("keydown", (event) => {
    const all = find();
    const at = all.indexOf(document.activeElement);
    const to = {
      [keys.next]: at + 1, [keys.before]: at - 1 + all.length, Home: 0, End: all.length - 1,
    }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const next = all[to % all.length];
    next.focus();
    choose?.(next);
  });
}
