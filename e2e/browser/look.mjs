// Looks at pages with a real browser: node look.mjs BROWSER FOLDER NAME=ADDRESS…
//
// Out: a screenshot of each page at each width, light and dark, in FOLDER, and a line of JSON for everything that is wrong; exit code 1 if
// anything is. Looked at: what axe-core finds (WCAG 2.2 A and AA, best practices), pages wider than the window, what the keyboard
// cannot reach or does not show, raw names of enums, links to a part that do not lead there, tickets that cannot be copied.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import puppeteer from "puppeteer-core";

const [browserPath, folder, ...pages] = process.argv.slice(2);
if (!pages.length) {
  console.error("node look.mjs BROWSER FOLDER NAME=ADDRESS…");
  process.exit(2);
}
const WIDTHS = [390, 1280, 2560];
const SCHEMES = ["light", "dark"];
// A keyboard's user gives up before that.
const MOST_STOPS = 400;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let wrong = 0;
let looked = 0;
const say = (page, what, detail) => {
  wrong += 1;
  console.log(JSON.stringify({ page, what, detail }));
};

const browser = await puppeteer.launch({
  executablePath: browserPath,
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"],
});
try {
  for (const argument of pages) {
    const at = argument.indexOf("=");
    const [name, address] = [argument.slice(0, at), argument.slice(at + 1)];
    for (const width of WIDTHS) {
      for (const scheme of SCHEMES) await look(name, address, width, scheme);
    }
    await useKeyboard(name, address);
    await followAndCopy(name, address);
  }
} finally {
  await browser.close();
}
if (!looked) say("all", "nothing was looked at", "");
console.error(`${looked} views looked at, ${wrong} findings`);
process.exit(wrong ? 1 : 0);

async function opened(address, width, scheme) {
  const tab = await browser.newPage();
  await tab.setViewport({ width, height: 900, isMobile: width < 600, hasTouch: width < 600 });
  await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  const errors = [];
  tab.on("pageerror", (error) => errors.push(String(error)));
  await tab.goto(address, { waitUntil: "load" });
  return [tab, errors];
}

async function look(name, address, width, scheme) {
  const view = `${name} ${width} ${scheme}`;
  const [tab, errors] = await opened(address, width, scheme);
  // What is folded away is looked at too.
  await tab.evaluate(() => document.querySelectorAll("details").forEach((part) => (part.open = true)));
  const wider = await tab.evaluate(() => {
    const over = document.scrollingElement.scrollWidth - document.documentElement.clientWidth;
    if (over <= 1) return null;
    const edge = document.documentElement.clientWidth + 1;
    const parts = [...document.querySelectorAll("main *")].filter((part) => part.getBoundingClientRect().right > edge && !part.closest(".scroll"));
    return { over, parts: parts.slice(0, 5).map((part) => part.outerHTML.slice(0, 120)) };
  });
  if (wider) say(view, "wider than the window", wider);
  const raw = await tab.evaluate(() => {
    // What is to be typed has the names that others gave.
    const text = document.querySelector("main").cloneNode(true);
    text.querySelectorAll("pre, code, textarea").forEach((part) => part.remove());
    const words = text.textContent.match(/\b[a-z]+(?:_[a-z0-9]+)+\b/g) ?? [];
    return [...new Set(words)].filter((word) => !document.querySelector("main").dataset.names?.includes(word));
  });
  if (raw.length) say(view, "raw names", raw);
  await tab.evaluate(axe);
  const found = await tab.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const violation of found.violations) {
    const nodes = violation.nodes.slice(0, 4).map((node) => `${node.target}: ${node.html.slice(0, 160)} ${node.any.map((a) => a.message)}`);
    say(view, `axe: ${violation.id} (${violation.impact})`, { help: violation.help, nodes });
  }
  for (const error of errors) say(view, "script", error);
  await tab.evaluate(() => document.querySelectorAll("details").forEach((part, i) => (part.open = i === 0 && !part.classList.contains("ticket"))));
  await tab.screenshot({ path: join(folder, `${name}-${width}-${scheme}.png`), fullPage: width < 2000 });
  looked += 1;
  await tab.close();
}

// Every link, button and part that scrolls is reached by Tab, in the order of the page, and shows that it is.
async function useKeyboard(name, address) {
  const [tab] = await opened(address, 1280, "light");
  const wanted = await tab.evaluate(() => {
    const all = [...document.querySelectorAll("a[href], button, summary, textarea, [tabindex='0']")];
    const seen = all.filter((part) => part.checkVisibility());
    seen.forEach((part, i) => (part.dataset.stop = i));
    return seen.length;
  });
  const reached = [];
  for (let i = 0; i < Math.min(wanted, MOST_STOPS); i += 1) {
    await tab.keyboard.press("Tab");
    const stop = await tab.evaluate(() => {
      const part = document.activeElement;
      const style = getComputedStyle(part);
      const shown = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
      return { stop: part.dataset.stop === undefined ? null : Number(part.dataset.stop), shown, html: part.outerHTML.slice(0, 120) };
    });
    if (stop.stop === null) say(name, "keyboard: it went astray", stop.html);
    else if (!stop.shown) say(name, "keyboard: the place is not shown", stop.html);
    reached.push(stop.stop);
  }
  const missing = [...Array(Math.min(wanted, MOST_STOPS)).keys()].filter((i) => !reached.includes(i));
  if (missing.length) say(name, "keyboard: not reached", missing);
  if (reached.some((stop, i) => i > 0 && stop !== null && stop < reached[i - 1])) say(name, "keyboard: not in the order of the page", reached);
  await tab.close();
}

async function followAndCopy(name, address) {
  const [tab] = await opened(address, 1280, "light");
  const links = await tab.evaluate(() => [...document.querySelectorAll("a.permalink")].slice(0, 3).map((link) => link.href));
  for (const link of links) {
    await tab.goto("about:blank");
    await tab.goto(link, { waitUntil: "load" });
    const there = await tab.evaluate(() => {
      const part = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      return Boolean(part) && (part.tagName !== "DETAILS" || part.open) && part.getBoundingClientRect().top < innerHeight;
    });
    if (!there) say(name, "a link to a part does not lead there", link);
  }
  await browser.defaultBrowserContext().overridePermissions(new URL(address).origin === "null" ? "file:///" : new URL(address).origin, [
    "clipboard-read",
    "clipboard-write",
    "clipboard-sanitized-write",
  ]).catch(() => {});
  const copied = await tab.evaluate(async () => {
    const ticket = document.querySelector("details.ticket");
    if (!ticket) return null;
    for (let at = ticket; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    const button = ticket.querySelector("button[data-copy]");
    button.click();
    await new Promise((done) => setTimeout(done, 300));
    return { said: button.parentElement.querySelector("[role=status]").textContent, text: document.getElementById(button.dataset.copy).value };
  });
  if (copied && (copied.said !== "Copied." || copied.text.trim().split("\n").length < 3)) say(name, "a ticket cannot be copied", copied);
  await tab.close();
}
