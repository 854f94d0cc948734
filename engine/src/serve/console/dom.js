// Makes elements, and brings those that are shown up to date. Every text becomes a text node, so no value is ever taken for HTML.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  const shown = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  element.append(...shown.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/** Makes an element of HTML. An attribute such as `onclick` that is a function becomes a listener. */
export function h(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Makes an element of SVG. */
export function s(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** A sentence of the engine: what stands between backticks is code. */
export function said(text) {
  return text.split("`").map((part, index) => (index % 2 === 1 ? h("code", {}, part) : part));
}

/** Changes the children of an element to those given, and keeps what is equal, so that focus and selection stay. They have no listeners. */
export function update(element, ...children) {
  morph(element, filled(element.cloneNode(false), {}, children));
}

function morph(shown, made) {
  const before = [...shown.childNodes];
  const after = [...made.childNodes];
  after.forEach((node, index) => {
    const there = before[index];
    if (!there) shown.append(node);
    else if (there.nodeName !== node.nodeName || there.dataset?.key !== node.dataset?.key) there.replaceWith(node);
    else if (node.nodeType === Node.TEXT_NODE) {
      if (there.data !== node.data) there.data = node.data;
    } else {
      for (const { name } of [...there.attributes]) if (!node.hasAttribute(name)) there.removeAttribute(name);
      for (const { name, value } of node.attributes) if (there.getAttribute(name) !== value) there.setAttribute(name, value);
      morph(there, node);
    }
  });
  before.slice(after.length).forEach((node) => node.remove());
}

/** Says what has failed, and what to do. With `again`, a button tries again. */
export function failure(error, again) {
  return h("div", { class: "notice wrong", role: "alert" }, h("p", {}, error.message), error.help && h("p", {}, error.help),
    again && h("p", {}, h("button", { type: "button", onclick: again }, "Look again")));
}

/** Shows what `make` gives, or its error with a way to try again. */
export function slowly(make, signal) {
  const shown = h("div", {}, h("p", { class: "quiet" }, "…"));
  const fill = () => make().then((made) => shown.replaceChildren(...[made].flat().filter(Boolean)), (error) => {
    if (!signal.aborted) shown.replaceChildren(failure(error, fill));
  });
  fill();
  return shown;
}

/** The same, not before it is opened. */
export function folded(summary, make, signal) {
  const details = h("details", {}, h("summary", {}, summary));
  details.addEventListener("toggle", () => details.append(slowly(make, signal)), { once: true });
  return details;
}

/** Asks a question in a dialog. Resolves with whether the user agrees. */
export function ask(title, text, agree) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" },
      h("form", { method: "dialog" },
        h("h2", { id: "dialog-title" }, title), h("p", {}, text),
        h("p", { class: "buttons" }, h("button", { value: "no" }, "Cancel"), h("button", { value: "yes", class: "primary" }, agree))));
    open(dialog, () => resolve(dialog.returnValue === "yes"));
  });
}

/** Asks for a text that is not shown. Resolves with it, or with null. */
export function askSecret(title, text) {
  return new Promise((resolve) => {
    const input = h("input", { type: "password", autocomplete: "off", id: "dialog-secret" });
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" },
      h("form", { method: "dialog" },
        h("h2", { id: "dialog-title" }, title), h("label", { for: "dialog-secret" }, text), input,
        h("p", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close("no") }, "Cancel"),
          h("button", { value: "yes", class: "primary" }, "Use it"))));
    open(dialog, () => resolve(dialog.returnValue === "yes" ? input.value : null));
  });
}

function open(dialog, closed) {
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed();
  });
  document.body.append(dialog);
  dialog.showModal();
}

/** A text with a button that copies it. */
export function copied(label, text) {
  const button = h("button", { type: "button", "aria-label": `Copy the line for ${label}`, onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(line);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  } }, "Copy");
  const line = h("code", {}, text);
  return h("div", { class: "copied" }, h("span", { class: "label" }, label), h("pre", { tabindex: 0, "aria-label": label }, line), button);
}
