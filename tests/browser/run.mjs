// Looks at every page of a running Tidecast with headless Chromium and fails on what an operator would complain about.
//
//   TIDECAST_URL=http://127.0.0.1:8000 SCREENSHOTS=target/screenshots node run.mjs
//
// TIDECAST_URL       the app listener [http://127.0.0.1:8000]
// TIDECAST_TOKEN     logs in with this first, where the server asks for it
// SCREENSHOTS        folder for pictures of each page, width and scheme [./screenshots]
// DOCS_SCREENSHOT    where the README's picture goes; none unless given
// CHROMIUM           the browser's path [/usr/bin/chromium]
// ONLY               a word: only the checks whose name holds it
//
// It needs a server that has begun to forecast (`tidecast dev` after some seconds), waits for it for up to a minute,
// and leaves nothing behind there but what the audit log says: a rule, a model, a silence and an acknowledgement are
// made and removed again; what would send a record is answered by the check itself.

import { AxeBuilder } from "@axe-core/playwright";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { checks } from "./checks.mjs";
import { deskChecks } from "./checks_desk.mjs";
import { pages } from "./pages.mjs";

const base = (process.env.TIDECAST_URL ?? "http://127.0.0.1:8000").replace(/\/$/, "");
const folder = process.env.SCREENSHOTS ?? "screenshots";
const token = process.env.TIDECAST_TOKEN ?? null;
const only = process.env.ONLY ?? "";
/** Every page is loaded in both schemes and at both widths, and switched from one scheme to the other while it stands. */
const VIEWS = [
  { name: "1280", width: 1280, height: 860, schemes: ["light", "dark"] },
  { name: "400", width: 400, height: 860, schemes: ["dark", "light"] },
];
/** The rules of axe that a scheme can break. */
const COLOUR_RULES = ["color-contrast", "link-in-text-block"];

let failures = 0;

/** Runs one named check and tells how it went; the others go on. */
async function check(name, body) {
  if (!name.includes(only)) return;
  const began = performance.now();
  try {
    await body();
    console.log(`ok    ${name} (${Math.round(performance.now() - began)} ms)`);
  } catch (error) {
    failures += 1;
    console.log(`FAIL  ${name}\n      ${String(error.message ?? error).replaceAll("\n", "\n      ")}`);
  }
}

/** Does the jobs in their order, so many at a time: much of each is waiting for the server to have something to show. */
async function inLanes(lanes, jobs) {
  const waiting = jobs[Symbol.iterator]();
  // One iterator for all: each lane takes the next job that nobody has taken.
  const lane = async () => {
    for (const job of waiting) await job();
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** A fresh page whose console is watched: any error, refused resource or policy violation is a failure. */
async function openPage(browser, { width, height, scheme = "light", ...more }) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: scheme,
    timezoneId: "America/New_York",
    baseURL: base,
    ...more,
  });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
  if (token) await page.addInitScript((text) => sessionStorage.setItem("tidecast.token", text), token);
  return { context, page, complaints };
}

/** A model to look at: one with anomalies if there is one, for it shows the most. */
async function someModel(page) {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    // Not there yet is waited for like everything else.
    const response = await page.request.get("/api/models?limit=1000", { headers }).catch(() => null);
    if (response?.ok()) {
      const { items } = await response.json();
      const ready = items.filter((model) => model.enabled && model.last_forecast_time);
      ready.sort((a, b) => Number(b.model_id.includes("/")) - Number(a.model_id.includes("/")) || b.anomalies - a.anomalies);
      if (ready.length) return ready[0].model_id;
    }
    if (Date.now() > deadline) throw new Error(`no model at ${base}/api/models has made a forecast within a minute`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

async function axe(page, rules) {
  if (page.frames().length > 1) throw new Error("axe looks at one frame alone here");
  // All rules are tried, but only what breaks one is described: describing what is well takes most of the time. Likewise
  // the "legacy" mode only leaves out a second page, in which results of several frames would be put together.
  const options = { resultTypes: ["violations"], ...(rules && { runOnly: rules }) };
  const { violations, passes } = await new AxeBuilder({ page }).setLegacyMode(true).options(options).analyze();
  if (!passes.length) throw new Error("axe has tried nothing");
  if (!violations.length) return;
  const told = violations.map(
    (v) => `${v.id} (${v.impact}): ${v.help}\n  ${v.nodes.slice(0, 3).map((n) => `${n.target.join(" ")}  ${n.failureSummary?.split("\n").slice(1).join(" ").trim()}`).join("\n  ")}`,
  );
  throw new Error(`axe: ${told.join("\n")}`);
}

/** What is on screen; of a narrow page, whose parts stand below each other, up to three screens. */
async function picture(page, path, { name, width }) {
  if (name !== "400") return page.screenshot({ path });
  const height = Math.min(2600, await page.evaluate(() => document.documentElement.scrollHeight));
  return page.screenshot({ path, fullPage: true, clip: { x: 0, y: 0, width, height } });
}

/** Has the system's scheme change under the page, and waits for two frames: charts have been drawn again. */
async function switchTo(page, scheme) {
  const ink = () => page.evaluate(() => getComputedStyle(document.body).color);
  const before = await ink();
  await page.emulateMedia({ colorScheme: scheme });
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  if ((await ink()) === before) throw new Error(`the page does not follow the system to ${scheme}`);
}

/** Nothing may stick out of a narrow screen. */
async function fits(page) {
  const [content, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  if (content > screen) throw new Error(`the page is ${content} px wide on a screen of ${screen}`);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--font-render-hinting=none"],
});
try {
  await mkdir(folder, { recursive: true });
  const scout = await openPage(browser, VIEWS[0]);
  const model = await someModel(scout.page);
  await scout.context.close();

  const lookAt = async ({ name, address, ready, before }, { schemes, ...view }) => {
    const { context, page, complaints } = await openPage(browser, { ...view, scheme: schemes[0] });
    try {
      await before?.(page);
      await page.goto(address);
      await ready(page);
      for (const scheme of schemes) {
        if (scheme !== schemes[0]) await switchTo(page, scheme);
        await fits(page);
        await picture(page, join(folder, `${name}-${view.name}-${scheme}.png`), view);
        await axe(page, scheme === schemes[0] ? undefined : COLOUR_RULES);
      }
      if (complaints.length) throw new Error(`console: ${complaints.join("; ")}`);
    } finally {
      await context.close();
    }
  };
  const doIt = async (body) => {
    const { context, page, complaints } = await openPage(browser, VIEWS[0]);
    try {
      const shoot = (at, name) => picture(at, join(folder, `${name}-1280-light.png`), VIEWS[0]);
      await body({ page, context, model, base, axe, picture: shoot });
      // A check that breaks a connection on purpose hears the browser say so.
      const unexpected = complaints.filter((text) => !(body.breaks && /ERR_|WebSocket|Failed to load resource/.test(text)));
      if (unexpected.length) throw new Error(`console: ${unexpected.join("; ")}`);
    } finally {
      await context.close();
    }
  };
  // The figures draw what they have seen since the page was opened: it stands open while the others are looked at.
  const paper = process.env.DOCS_SCREENSHOT ? await openPage(browser, { width: 1280, height: 900, deviceScaleFactor: 1.5 }) : null;
  await paper?.page.goto("/");

  const views = VIEWS.flatMap((view) => pages(model).map((page) => () => check(`${page.name} ${view.name}`, () => lookAt(page, view))));
  await inLanes(2, views);

  if (paper) {
    await check("picture for the papers", async () => {
      await pages(model).find((p) => p.name === "overview").ready(paper.page);
      await paper.page.waitForFunction(
        () => (document.querySelector(".figure .spark-line")?.getAttribute("d") ?? "").split("L").length > 15,
        undefined,
        { timeout: 60_000 },
      );
      await paper.page.screenshot({ path: process.env.DOCS_SCREENSHOT });
    });
    await paper.context.close();
  }

  // Those of a file one after the other, for they may change the same things; the two files beside each other.
  const files = [checks, deskChecks].map((file) => async () => {
    for (const [name, body] of Object.entries(file)) await check(name, () => doIt(body));
  });
  await inLanes(2, files);
} finally {
  await browser.close();
}
console.log(failures ? `${failures} failed` : "all well");
process.exitCode = failures ? 1 : 0;
