// How smooth the pages stay while updates pour in: frames a second, the longest frame, and the heap over time.
//
//   node fixture.mjs --models 10000 --updates 1000 &
//   TIDECAST_URL=http://127.0.0.1:8000 SECONDS=60 node perf.mjs
//
// SECONDS   measured on each page [20]
// FPS_MIN   fails below it [50]: headless Chromium draws at most 60

import { chromium } from "playwright-core";

const base = process.env.TIDECAST_URL ?? "http://127.0.0.1:8000";
const seconds = Number(process.env.SECONDS ?? 20);
const fpsMin = Number(process.env.FPS_MIN ?? 50);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--js-flags=--expose-gc"],
});
const page = await browser.newPage({ baseURL: base, viewport: { width: 1280, height: 860 } });
const { items } = await (await page.request.get("/api/models?limit=5")).json();

async function heap() {
  return page.evaluate(() => {
    globalThis.gc();
    return performance.memory.usedJSHeapSize / 1048576;
  });
}

/** Counts animation frames, and those that took longer than two of a 60 Hz screen. */
async function measure(name, scroll) {
  await page.waitForTimeout(3000);
  const before = await heap();
  const { frames, late, longest } = await page.evaluate(
    ([ms, selector]) =>
      new Promise((resolve) => {
        const began = performance.now();
        let last = began;
        let frames = 0;
        let late = 0;
        let longest = 0;
        const node = selector && document.querySelector(selector);
        const step = (now) => {
          frames += 1;
          if (now - last > 34) late += 1;
          longest = Math.max(longest, now - last);
          last = now;
          if (node) node.scrollTop = ((now - began) * 4) % (node.scrollHeight - node.clientHeight);
          if (now - began < ms) requestAnimationFrame(step);
          else resolve({ frames, late, longest });
        };
        requestAnimationFrame(step);
      }),
    [seconds * 1000, scroll],
  );
  const after = await heap();
  const fps = frames / seconds;
  const title = await page.locator(".light").getAttribute("title");
  console.log(
    `${name.padEnd(22)} ${fps.toFixed(1)} frames/s, ${late} of ${frames} late, longest ${longest.toFixed(0)} ms, ` +
      `heap ${before.toFixed(1)} → ${after.toFixed(1)} MiB; ${title}`,
  );
  if (fps < fpsMin) process.exitCode = 1;
}

await page.goto("/");
await page.locator(".light-good").waitFor();
await measure("overview");
await page.goto(`/models/${encodeURIComponent(items[0].model_id)}?windows=720`);
await page.locator(".model-main canvas").waitFor();
await measure("model, 720 windows");
await page.goto("/models");
await page.locator(".vtable-body .vrow").first().waitFor();
console.log(`models: ${await page.locator(".page-head .note").textContent()}`);
await measure("models, scrolling", ".vtable-body");
await page.goto("/alerts");
await page.locator(".alert").first().waitFor();
await measure("alerts");
await browser.close();
