// What a person does with the pages: walks by keyboard, shares addresses, switches, loses the network.

import assert from "node:assert/strict";
import { eventually, until } from "./wait.mjs";

async function livesOn({ page }) {
  await page.goto("/");
  await page.locator(".light-good").waitFor();
  const readout = () => page.locator(".figures").textContent();
  const before = await readout();
  await until("figures move", readout, (text) => text !== before);
}

async function keyboardWalks({ page }) {
  await page.goto("/models");
  await page.locator(".vtable-body .vrow").first().waitFor();
  await page.keyboard.press("Tab");
  await eventually(async () => assert.match(await focused(page), /Skip to the content/));
  await page.keyboard.press("Enter");
  await eventually(async () => assert.equal(await page.evaluate(() => document.activeElement.id), "main"));
  await page.locator(".vtable-body").focus();
  await page.keyboard.press("ArrowDown");
  const first = await focused(page);
  await page.keyboard.press("ArrowDown");
  const second = await until("the next row", () => focused(page), (text) => text !== first);
  assert.ok(second);
  await page.keyboard.press("End");
  const lastDrawn = () => page.locator(".vtable-body .cover").last().textContent();
  const last = await until("the last row", () => focused(page), (text) => text !== second && text.length < 200);
  await eventually(async () => assert.equal(await lastDrawn(), last, "End goes to the last row"));
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/models\/./);
  await until("the model's heading", () => page.locator("h1").textContent(), (text) => text === last);
}

const focused = (page) => page.evaluate(() => document.activeElement?.textContent?.trim() ?? "");

async function everythingCanBeReached({ page, model }) {
  for (const address of ["/", `/models/${encodeURIComponent(model)}`, "/rules?create=1"]) {
    await page.goto(address);
    await page.locator(".panel").first().waitFor();
    const reached = new Set();
    for (let i = 0; i < 150; i++) {
      await page.keyboard.press("Tab");
      const [name, outlined] = await page.evaluate(() => {
        const node = document.activeElement;
        if (!node || node === document.body) return [null, true];
        const styles = [getComputedStyle(node), getComputedStyle(node, "::after")];
        return [node.outerHTML.slice(0, 120), styles.some((s) => s.outlineStyle !== "none" && s.outlineWidth !== "0px")];
      });
      if (name === null) break;
      assert.ok(outlined, `focus cannot be seen on ${name}`);
      reached.add(name);
    }
    assert.ok(reached.size > 8, `${address}: only ${reached.size} things can be reached by Tab`);
  }
}

async function chartByKeyboard({ page, model }) {
  await page.goto(`/models/${encodeURIComponent(model)}`);
  const chart = page.locator(".model-main [role=slider]");
  await page.locator(".model-main .uplot canvas").waitFor();
  await chart.focus();
  await page.keyboard.press("Home");
  const first = await until("a spoken value", () => chart.getAttribute("aria-valuetext"), (text) => /Actual/.test(text));
  await page.keyboard.press("ArrowRight");
  await until("the next value", () => chart.getAttribute("aria-valuetext"), (text) => text !== first);
}

async function searchIsInTheAddress({ page, model }) {
  // With its slash it is part of names only: a search looks at series, too.
  const needle = model.includes("/") ? model.slice(0, model.indexOf("/") + 1) : model;
  await page.goto("/models");
  await page.locator(".vtable-body .vrow").first().waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type(needle);
  await page.waitForURL(/q=/);
  const shared = page.url();
  // The address comes first, the rows of the answer after it.
  await page.waitForFunction((needle) => {
    const names = [...document.querySelectorAll(".vtable-body .cover")].map((cover) => cover.textContent);
    return names.length > 0 && names.every((name) => name.includes(needle));
  }, needle);
  const names = await page.locator(".vtable-body .cover").allTextContents();
  assert.ok(names.length && names.every((name) => name.includes(needle)), names.join());
  await page.reload();
  await eventually(() => assert.equal(page.url(), shared));
  await page.waitForFunction((wanted) => {
    const found = [...document.querySelectorAll(".vtable-body .cover")].map((cover) => cover.textContent);
    return found.join() === wanted;
  }, names.join());
  await eventually(async () => assert.equal(await page.getByRole("searchbox").inputValue(), needle));
}

async function backButtonGoesBack({ page, model }) {
  await page.goto("/");
  await page.getByRole("navigation").getByRole("link", { name: "Alerts" }).click();
  await page.waitForURL("**/alerts");
  await page.getByRole("combobox", { name: "Severity" }).selectOption("CRITICAL");
  await page.waitForURL("**/alerts?severity=CRITICAL");
  await page.goto(`/models/${encodeURIComponent(model)}`);
  await page.goBack();
  await page.waitForURL("**/alerts?severity=CRITICAL");
  await eventually(async () => assert.equal(await page.getByRole("combobox", { name: "Severity" }).inputValue(), "CRITICAL"));
  await page.goBack();
  await page.waitForURL("**/alerts");
  await page.goBack();
  await until("the title", () => page.title(), (title) => title === "Overview · Tidecast");
}

async function deepLinkByClick({ page, model }) {
  await page.goto("/models?q=" + encodeURIComponent(model));
  await page.locator(".cover").filter({ hasText: model }).first().click();
  await eventually(() => assert.equal(new URL(page.url()).pathname, `/models/${encodeURIComponent(model)}`));
  await page.reload();
  await until("the heading", () => page.locator("h1").textContent(), (text) => text === model);
}

async function newFitIsAskedFor({ page, model }) {
  await page.goto(`/models/${encodeURIComponent(model)}`);
  await page.getByRole("button", { name: "Refit" }).click();
  await until("an answer", () => page.getByRole("status").filter({ hasText: "new fit" }).count(), (count) => count === 1);
  await page.goto("/audit?action=model.refit");
  await page.getByText(model).first().waitFor();
}

async function themeIsSwitched({ page }) {
  await page.goto("/");
  await page.locator(".answers").waitFor();
  const ground = () => page.evaluate(() => getComputedStyle(document.querySelector(".answers")).backgroundColor);
  const light = await ground();
  const button = page.getByRole("button", { name: /^Colours/ });
  await button.click();
  await eventually(async () => assert.equal(await ground(), light, "the system is light already"));
  await button.click();
  await eventually(async () => assert.notEqual(await ground(), light));
  await page.reload();
  await page.locator(".answers").waitFor();
  await eventually(async () => assert.notEqual(await ground(), light, "the choice is remembered"));
}

async function zoneIsSwitched({ page, model }) {
  await page.goto(`/models/${encodeURIComponent(model)}?windows=72`);
  await page.locator(".model-main .uplot canvas").waitFor();
  const chart = page.locator(".model-main [role=slider]");
  const spoken = async () => {
    await chart.focus();
    await page.keyboard.press("Home");
    return (await chart.getAttribute("aria-valuetext")).split(":").slice(0, 2).join(":");
  };
  const utc = await spoken();
  await page.getByRole("button", { name: /^Times are in UTC/ }).click();
  const local = await spoken();
  assert.notEqual(local, utc);
  const hours = (Date.parse(utc + ":00Z") - Date.parse(local + ":00Z")) / 3.6e6;
  // The window may have moved on meanwhile, by an hour a second; New York is four or five hours behind.
  assert.ok(hours >= -20 && hours <= 5 && Number.isInteger(hours * 4), `${utc} became ${local}`);
}

async function chosenAnomalyIsDrawn({ page }) {
  await page.goto("/");
  await page.locator(".oddity, .worst .state:not(.loading)").first().waitFor();
  const rows = page.locator(".oddity");
  if ((await rows.count()) < 2) return;
  await rows.nth(1).click();
  await page.waitForURL(/show=/);
  const id = new URL(page.url()).searchParams.get("show");
  await until("the chosen model", () => page.locator(".chosen h2").textContent(), (text) => text === id);
  await page.locator(".chosen .uplot canvas").waitFor();
}

async function ruleIsMadeTriedAndRemoved({ page }) {
  const name = `browser_check_${Date.now()}`;
  await page.goto("/rules?create=1");
  await page.getByLabel("Name").fill(name);
  const when = page.getByLabel("When");
  await when.fill("");
  await when.pressSequentially("data.anom");
  await page.getByRole("option", { name: "anomaly_score" }).waitFor();
  await when.press("Tab");
  await eventually(async () => assert.equal(await when.inputValue(), "data.anomaly_score", "the editor went on"));
  await eventually(async () => assert.ok(await when.evaluate((field) => field === document.activeElement), "and kept the focus"));
  await when.pressSequentially(" > 0.5");
  await page.getByRole("button", { name: "Try it", exact: true }).click();
  await until("a verdict", () => page.locator(".verdict").textContent(), (text) => /would fire/.test(text));
  await page.getByRole("button", { name: "Try it on the last" }).click();
  const told = (text) => /would have fired [\d,]+ times? on [\d,]+ events?|no event of its type/.test(text);
  await until("what it would have done", () => page.locator(".verdict").textContent(), told);
  await page.getByRole("button", { name: "Create" }).click();
  await page.waitForURL(`**/rules/${name}`);
  // Two changes, one after the other: the second rests on what the first made.
  for (const score of ["0.6", "0.7"]) {
    await page.getByLabel("When").fill(`data.get('anomaly_score', 0) > ${score}`);
    await page.getByRole("button", { name: "Save" }).click();
    await until("saved", () => page.locator(".page-head .note").textContent(), (text) => text === "Saved");
  }
  await page.goto("/rules");
  const row = page.locator(".rule", { hasText: name });
  await row.waitFor();
  await row.getByRole("link").click();
  await page.getByRole("button", { name: "Remove" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await page.waitForURL("**/rules");
  await until("the rule is gone", () => page.locator(".rule", { hasText: name }).count(), (n) => n === 0, 20_000);
}

async function lostConnectionHeals({ page, context }) {
  let cut = () => {};
  await page.routeWebSocket(/forecast-updates/, (socket) => {
    const server = socket.connectToServer();
    cut = () => {
      void server.close();
      void socket.close({ code: 1012, reason: "restarting" });
    };
  });
  await page.goto("/");
  await page.locator(".light-good").waitFor();
  const waiting = page.locator(".light-wait").waitFor({ timeout: 20_000 });
  cut();
  await waiting;
  await page.locator(".light-good").waitFor({ timeout: 20_000 });
  // And without any network at all the page keeps what it knew, and says so.
  await page.locator(".by-type tbody tr").first().waitFor({ timeout: 30_000 });
  await context.setOffline(true);
  await page.locator(".light-bad", { hasText: "No answer" }).waitFor({ timeout: 20_000 });
  await eventually(async () => assert.ok(await page.locator(".by-type tbody tr").count(), "the last windows are still there"));
  await context.setOffline(false);
  await page.locator(".light-bad").waitFor({ state: "detached", timeout: 20_000 });
}
lostConnectionHeals.breaks = true;

async function unknownNamesAreSaid({ page, axe }) {
  for (const address of ["/models/there%2Fis%20no%2Fsuch", "/rules/no_such_rule"]) {
    await page.goto(address);
    await page.getByText(/^There is no (model|rule) of this name/).waitFor();
    await axe(page);
  }
}
// The browser itself writes a 404 to the console.
unknownNamesAreSaid.breaks = true;

async function tokenIsAskedFor({ page, axe, picture }) {
  // Whatever server this is, here it wants one certain token.
  await page.route("**/api/**", async (route) => {
    const { authorization, ...headers } = await route.request().allHeaders();
    if (authorization === "Bearer good.token.here") return route.continue({ headers });
    return route.fulfill({
      status: 401,
      contentType: "application/problem+json",
      body: JSON.stringify({ title: "Unauthorized", status: 401, detail: "A usable token is needed." }),
    });
  });
  await page.goto("/alerts?severity=HIGH");
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  await axe(page);
  await picture(page, "login");
  await page.getByLabel("Token").fill("not a token");
  await page.keyboard.press("Enter");
  await page.getByText("This is not a token").waitFor();
  await page.getByLabel("Token").fill("bad.token.here");
  await page.keyboard.press("Enter");
  await page.getByText("A usable token is needed.").first().waitFor();
  await page.getByLabel("Token").fill("good.token.here");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { name: "Alerts" }).waitFor();
  await eventually(() => assert.equal(new URL(page.url()).search, "?severity=HIGH", "where one wanted to go is kept"));
  // What is typed outlives the token: the login lies over the page.
  await page.goto("/rules?create=1");
  await page.getByLabel("When").fill("data.anomaly_score > 0.123");
  const refuse = (route) => route.fulfill({ status: 401, contentType: "application/problem+json", body: '{"title":"Unauthorized","status":401,"detail":"over"}' });
  await page.route("**/api/stats", refuse);
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  await page.unroute("**/api/stats", refuse);
  await page.getByLabel("Token").fill("good.token.here");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByLabel("When").waitFor();
  await eventually(async () => assert.equal(await page.getByLabel("When").inputValue(), "data.anomaly_score > 0.123"));
  // Whoever leaves it is asked.
  page.once("dialog", (dialog) => dialog.dismiss());
  await page.getByRole("link", { name: "Models" }).click();
  await eventually(async () => assert.equal(await page.getByLabel("When").inputValue(), "data.anomaly_score > 0.123"));
  page.once("dialog", (dialog) => dialog.accept());
  await page.getByRole("link", { name: "Models" }).click();
  await page.getByRole("heading", { name: "Models" }).waitFor();
  // Logging out begins the page anew: nothing that it held or heard is left for the next in this tab.
  await page.evaluate(() => (window.heldByThisPage = true));
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  await until("a page that begins anew", () => page.evaluate(() => window.heldByThisPage === undefined), (anew) => anew);
  await eventually(async () => assert.equal(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }).includes("token.here")), false));
}
tokenIsAskedFor.breaks = true;

async function filesAreSmall({ page, base }) {
  let bytes = 0;
  const { gzipSync } = await import("node:zlib");
  const own = [];
  page.on("response", (response) => own.push(response));
  await page.goto("/");
  await page.locator(".answers").waitFor();
  for (const response of own) {
    const { origin, pathname } = new URL(response.url());
    assert.equal(origin, base, `a foreign address was asked: ${response.url()}`);
    if (pathname === "/" || pathname.startsWith("/assets/")) bytes += gzipSync(await response.body()).length;
  }
  assert.ok(bytes > 10_000 && bytes < 150_000, `${bytes} bytes gzipped`);
  console.log(`      ${(bytes / 1024).toFixed(1)} KiB gzipped in all`);
}

async function policyForbidsInline({ page }) {
  const response = await page.goto("/");
  const policy = response.headers()["content-security-policy"] ?? "";
  assert.match(policy, /default-src '(self|none)'/);
  assert.doesNotMatch(policy, /unsafe-inline|unsafe-eval/);
}

async function paintsQuickly({ page }) {
  await page.goto("/");
  await page.goto("/alerts");
  await page.goto("/");
  const paint = await page.evaluate(
    () =>
      new Promise((resolve) =>
        new PerformanceObserver((list) => {
          const entry = list.getEntriesByName("first-contentful-paint")[0];
          if (entry) resolve(entry.startTime);
        }).observe({ type: "paint", buffered: true }),
      ),
  );
  console.log(`      first contentful paint ${Math.round(paint)} ms`);
  assert.ok(paint < 1500, `first paint after ${Math.round(paint)} ms`);
}

export const checks = {
  "the figures live": livesOn,
  "the models are walked by keyboard": keyboardWalks,
  "all can be reached by keyboard, and the focus is seen": everythingCanBeReached,
  "a chart is read by keyboard": chartByKeyboard,
  "a search is in the address": searchIsInTheAddress,
  "the back button goes back": backButtonGoesBack,
  "a model's address can be shared": deepLinkByClick,
  "a new fit is asked for": newFitIsAskedFor,
  "the scheme is switched and remembered": themeIsSwitched,
  "the time zone is switched": zoneIsSwitched,
  "the chosen anomaly is drawn": chosenAnomalyIsDrawn,
  "a rule is made, tried and removed": ruleIsMadeTriedAndRemoved,
  "a lost connection heals": lostConnectionHeals,
  "an unknown model or rule is said to be so": unknownNamesAreSaid,
  "a token is asked for": tokenIsAskedFor,
  "the files are small and our own": filesAreSmall,
  "the policy forbids inline code": policyForbidsInline,
  "it paints quickly": paintsQuickly,
};
