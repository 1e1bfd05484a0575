// Fetches the page again when the API's event stream reports a change, keeps ages
// current, and asks for confirmation before an action.
const main = document.querySelector("main[data-stream]");

// Changes the shown element to match the fetched one and leaves everything that is
// equal alone: focus, selection, input and open details stay. Elements with an id
// keep their identity when siblings are added or removed before them.
const update = (old, now) => {
  for (const a of now.attributes) if (a.name !== "open" && old.getAttribute(a.name) !== a.value) old.setAttribute(a.name, a.value);
  for (const a of [...old.attributes]) if (!now.hasAttribute(a.name) && a.name !== "open") old.removeAttribute(a.name);
  const fresh = [...now.childNodes];
  fresh.forEach((n, i) => {
    let o = old.childNodes[i];
    if (n.id && o?.id !== n.id && [...old.childNodes].slice(i).some(later => later.id === n.id)) {
      while ((o = old.childNodes[i]).id !== n.id) o.remove();
    }
    if (!o) old.append(n);
    else if (o.id && o.id !== n.id && fresh.slice(i).some(later => later.id === o.id)) o.before(n);
    else if (o.nodeType !== n.nodeType || o.nodeName !== n.nodeName) o.replaceWith(n);
    else if (n.nodeType !== Node.ELEMENT_NODE) { if (o.nodeValue !== n.nodeValue) o.nodeValue = n.nodeValue; }
    else if (!o.isEqualNode(n)) update(o, n);
  });
  while (old.childNodes.length > fresh.length) old.lastChild.remove();
};

if (main) {
  let busy = false, pending = false;
  const editing = () => main.contains(document.activeElement) && /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
  const refresh = async () => {
    if (busy || editing()) { pending = true; return; }
    busy = true;
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      if (response.ok && !editing()) update(main, page.querySelector("main"));
    } catch { /* the stream reconnects and triggers this again */ }
    busy = false;
    if (pending) { pending = false; setTimeout(refresh, 250); }
  };
  const stream = new EventSource(main.dataset.stream);
  for (const kind of ["saga", "overview", "problem"]) stream.addEventListener(kind, refresh);
  // The stream was rejected permanently, such as after the session has expired:
  // the reloaded page has the reason.
  stream.addEventListener("error", () => { if (stream.readyState === EventSource.CLOSED && !editing()) setTimeout(() => location.reload(), 5000); });
  main.addEventListener("focusout", () => { if (pending) { pending = false; setTimeout(refresh, 250); } });
}
// The texts of age.go.
const age = seconds => {
  if (seconds < 1) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 2 * 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
};
setInterval(() => {
  for (const t of document.querySelectorAll("time")) {
    const text = age((Date.now() - Date.parse(t.dateTime)) / 1000);
    if (t.textContent !== text) t.textContent = text;
  }
}, 10000);

// Copy buttons are hidden without JavaScript.
document.documentElement.classList.add("script");
document.addEventListener("click", async event => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = button.parentElement.querySelector("pre, code");
  getSelection().selectAllChildren(text); // shows what is copied, and allows copying by hand
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
  } catch { // browsers have a clipboard only on loopback and with TLS
    button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});
document.addEventListener("submit", event => {
  const question = event.submitter?.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
document.addEventListener("change", event => {
  const name = event.target.dataset.all;
  if (name) for (const box of event.target.form.querySelectorAll(`[name="${name}"]`)) box.checked = event.target.checked;
});
