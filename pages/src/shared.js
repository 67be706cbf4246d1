(() => {
  const show = () => {
    const name = decodeURIComponent(location.hash.slice(1));
    const part = name && document.getElementById(name);
    if (!part) return;
    for (let at = part; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    part.scrollIntoView();
  };
  addEventListener("hashchange", show);
  show();
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const box = document.getElementById(button.dataset.copy);
    box.select();
    let copied = true;
    // Without TLS a browser has no clipboard of that kind.
    try { await navigator.clipboard.writeText(box.value); } catch { copied = document.execCommand("copy"); }
    button.parentElement.querySelector("[role=status]").textContent = copied ? "Copied." : "Press Ctrl-C.";
  });
  const seconds = Number(document.body.dataset.refresh);
  if (!seconds) return;
  const stale = document.getElementById("stale");
  let last = new Date();
  setInterval(async () => {
    const main = document.querySelector("main");
    // Whoever reads or copies is not disturbed.
    if (document.hidden || main.contains(document.activeElement) || String(getSelection())) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(answer.status);
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      const open = new Set([...main.querySelectorAll("details[open][id]")].map((part) => part.id));
      main.replaceWith(next.querySelector("main"));
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      document.title = next.title;
      last = new Date();
      stale.hidden = true;
    } catch {
      stale.textContent = `No answer since ${last.toLocaleTimeString()}: what is below is as it was then.`;
      stale.hidden = false;
    }
  }, seconds * 1000);
})();
