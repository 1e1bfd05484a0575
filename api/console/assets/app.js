// Follows the API's stream of events, if the page has one, by fetching the page
// again; and asks before something is done.
const main = document.querySelector("main[data-stream]");

// Makes what is shown like the page that was fetched, and touches only what has
// changed: focus, selections and what was typed or opened stay. What has an id
// stays what it is though others come or go before it.
const renew = (old, now) => {
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
    else if (!o.isEqualNode(n)) renew(o, n);
  });
  while (old.childNodes.length > fresh.length) old.lastChild.remove();
};

if (main) {
  let busy = false, again = false;
  const editing = () => main.contains(document.activeElement) && /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
  const refresh = async () => {
    if (busy || editing()) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (answer.ok && !editing()) renew(main, page.querySelector("main"));
    } catch { /* the stream comes back, and then this does */ }
    busy = false;
    if (again) { again = false; setTimeout(refresh, 250); }
  };
  const stream = new EventSource(main.dataset.stream);
  for (const kind of ["saga", "overview", "problem"]) stream.addEventListener(kind, refresh);
  // Refused for good, as when the session has expired: the page says why.
  stream.addEventListener("error", () => { if (stream.readyState === EventSource.CLOSED && !editing()) setTimeout(() => location.reload(), 5000); });
  main.addEventListener("focusout", () => { if (again) { again = false; setTimeout(refresh, 250); } });
}
// Buttons that copy are shown only where they can.
document.documentElement.classList.add("script");
document.addEventListener("click", async event => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = button.parentElement.querySelector("pre, code");
  getSelection().selectAllChildren(text); // also to be seen, and to be copied by hand
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
  } catch { // there is no clipboard but on loopback and with TLS
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
  if (name) for (const box of event.target.form.elements[name].length ? event.target.form.elements[name] : [event.target.form.elements[name]]) box.checked = event.target.checked;
});
