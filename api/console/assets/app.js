// Follows the API's stream of events, if the page has one, by fetching the page
// again; and asks before what cannot be taken back.
const main = document.querySelector("main[data-stream]");
if (main) {
  let busy = false, again = false;
  const editing = () => main.contains(document.activeElement) && /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
  const refresh = async () => {
    if (busy || editing()) { again = true; return; }
    busy = true;
    try {
      const open = [...main.querySelectorAll("details")].map(d => d.open);
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (answer.ok && !editing()) {
        const written = new Map([...main.querySelectorAll("input[name]")].map(i => [i.name, i.value]));
        main.replaceChildren(...page.querySelector("main").childNodes);
        main.querySelectorAll("input[name]").forEach(i => { i.value = written.get(i.name) ?? i.value; });
        main.querySelectorAll("details").forEach((d, i) => { d.open = !!open[i]; });
      }
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
document.addEventListener("submit", event => {
  const question = event.submitter?.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
