// What those who run it do with the pages: see to alerts, silence, make and change models, mend dead letters, look into
// topics, read who did what. Each looks at the request that was sent, and at what is then shown.

import assert from "node:assert/strict";
import { LETTER } from "./pages.mjs";
import { eventually } from "./wait.mjs";

/** Does it, and gives the request that it sends, with its answer. */
async function sent(page, method, path, act) {
  const [response] = await Promise.all([
    page.waitForResponse((r) => r.request().method() === method && path.test(new URL(r.url()).pathname + new URL(r.url()).search)),
    act(),
  ]);
  const request = response.request();
  return { body: request.postDataJSON(), headers: await request.allHeaders(), url: new URL(request.url()), response };
}

const query = (page) => new URL(page.url()).searchParams;

/** Anomalies, held still; the first may have to be waited for. */
async function heldAnomalies(page) {
  await page.goto("/alerts?kind=anomaly");
  await page.locator(".alerts .alert").first().waitFor({ timeout: 60_000 });
  await page.getByRole("button", { name: "Hold still" }).click();
  await page.waitForURL(/paused=1/);
}

async function alertIsAcknowledged({ page, axe }) {
  const path = /^\/api\/alerts\/[^/]+\/acknowledge$/;
  await heldAnomalies(page);
  const button = page.getByRole("button", { name: /^Acknowledge/ }).first();
  const dialog = page.getByRole("dialog");
  // By keyboard alone, and the focus stays where the hand is.
  await button.focus();
  const row = page.locator(".alert", { has: page.locator(":focus") });
  await page.keyboard.press("Enter");
  await dialog.waitFor();
  await eventually(async () => assert.equal(await dialog.getByLabel("Note").evaluate((input) => input === document.activeElement), true));
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  await eventually(async () => assert.match(await page.evaluate(() => document.activeElement.textContent), /^Acknowledge/));
  await page.keyboard.press("Enter");
  await dialog.waitFor();
  await page.keyboard.type(" looked into <by> the browser ");
  await axe(page);
  const { url, body, response } = await sent(page, "POST", path, () => page.keyboard.press("Enter"));
  assert.equal(response.status(), 201);
  assert.deepEqual(body, { note: "looked into <by> the browser" });
  await dialog.waitFor({ state: "detached" });
  const seen = page.locator(".alert-seen").first();
  await seen.getByText(/Acknowledged( by \S+)? .*: looked into <by> the browser$/).waitFor();
  await seen.getByRole("button", { name: /^Take back/ }).waitFor();
  await eventually(async () => assert.match(await page.evaluate(() => document.activeElement.textContent), /^Take back/));
  await eventually(async () => assert.equal(await row.count(), 1));
  await axe(page);
  await page.getByRole("combobox", { name: "Acknowledged or not" }).selectOption("acknowledged");
  await page.waitForURL(/ack=acknowledged/);
  await eventually(async () => assert.equal(await page.locator(".alert").count(), await page.locator(".alert-seen").count()));
  await page.reload();
  await page.locator(".alert-seen", { hasText: "looked into <by> the browser" }).waitFor();
  const takeBack = () => sent(page, "DELETE", path, () => page.getByRole("button", { name: /^Take back/ }).first().click());
  assert.equal((await takeBack()).url.pathname, url.pathname);
  // And without a note: Enter twice.
  await page.getByRole("combobox", { name: "Acknowledged or not" }).selectOption("unacknowledged");
  await button.focus();
  await page.keyboard.press("Enter");
  await dialog.waitFor();
  const bare = await sent(page, "POST", path, () => page.keyboard.press("Enter"));
  assert.deepEqual([bare.response.status(), bare.body, (await bare.response.json()).note], [201, null, null]);
  await page.getByRole("combobox", { name: "Acknowledged or not" }).selectOption("acknowledged");
  await page.locator(".alert-seen").first().waitFor();
  assert.equal((await takeBack()).url.pathname, bare.url.pathname);
  await page.getByRole("combobox", { name: "Acknowledged or not" }).selectOption("unacknowledged");
  await page.locator(".alert").first().waitFor();
  await eventually(async () => assert.equal(await page.locator(".alert-seen").count(), 0));
}

async function alertIsSilenced({ page, axe }) {
  await heldAnomalies(page);
  const button = page.getByRole("button", { name: /^Silence / }).first();
  const name = (await button.textContent()).replace(/^Silence /, "");
  await button.click();
  const dialog = page.getByRole("dialog");
  await eventually(async () => assert.equal(await dialog.getByLabel("Model").inputValue(), name));
  await dialog.getByLabel("1 day").check();
  await dialog.getByLabel("Why").fill("looked into by the browser");
  await axe(page);
  const { body, response } = await sent(page, "POST", /^\/api\/silences$/, () => dialog.getByRole("button", { name: "Silence" }).click());
  assert.equal(response.status(), 201);
  assert.equal(body.model_id, name);
  assert.equal(body.rule, null);
  assert.equal(body.reason, "looked into by the browser");
  const hours = (Date.parse(body.until) - Date.now()) / 3.6e6;
  assert.ok(hours > 23.9 && hours <= 24, `${hours} hours`);
  const silence = page.locator(".silence", { hasText: name }).filter({ hasText: "looked into by the browser" });
  await silence.getByText(/until .* left/).waitFor();
  await page.locator(".alert", { hasText: "silenced" }).first().waitFor();
  await axe(page);
  await silence.getByRole("button", { name: /^Remove/ }).click();
  const gone = await sent(page, "DELETE", /^\/api\/silences\//, () => page.getByRole("dialog").getByRole("button", { name: "Remove" }).click());
  assert.equal(decodeURIComponent(gone.url.pathname.split("/").pop()), body.name);
  await silence.waitFor({ state: "detached" });
}

async function modelIsMadeChangedAndRemoved({ page, axe }) {
  const name = `browser/check ${Date.now()}`;
  await page.goto("/models");
  await page.getByRole("button", { name: "New model" }).click();
  await page.waitForURL(/create=1/);
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill(name);
  await dialog.getByLabel("Family").selectOption("SeasonalNaive");
  await dialog.getByLabel("Series").fill("no family");
  await dialog.getByLabel("Season").fill("24");
  await dialog.getByLabel("Horizon").fill("many");
  await dialog.getByText(/is no number/).waitFor();
  await dialog.getByLabel("Horizon").fill("6");
  const refused = await sent(page, "POST", /^\/api\/models$/, () => dialog.getByRole("button", { name: "Create" }).click());
  assert.equal(refused.response.status(), 422);
  // Said beside the field that it is about, and read out with it.
  await dialog.locator("#model-series-fault").waitFor();
  await eventually(async () => assert.equal(await dialog.getByLabel("Series").getAttribute("aria-invalid"), "true"));
  await axe(page);
  await dialog.getByLabel("Series").fill("by_type:browser_check");
  const made = await sent(page, "POST", /^\/api\/models$/, () => dialog.getByRole("button", { name: "Create" }).click());
  assert.equal(made.response.status(), 201);
  assert.deepEqual([made.body.model_type, made.body.season, made.body.horizon, made.body.level], ["SeasonalNaive", 24, 6, 0.95]);
  await page.waitForURL(new RegExp(`/models/${encodeURIComponent(name).replaceAll("%", "%")}$`));

  await page.getByRole("button", { name: "Edit", exact: true }).click();
  await page.waitForURL(/edit=1/);
  await eventually(async () => assert.equal(await dialog.getByLabel("Name").isDisabled(), true));
  await dialog.getByLabel("Horizon").fill("8");
  // Meanwhile somebody else changes it.
  const api = `/api/models/${encodeURIComponent(name)}`;
  await page.evaluate(async (api) => {
    const token = sessionStorage.getItem("tidecast.token");
    const headers = { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) };
    const now = await (await fetch(api, { headers })).json();
    await fetch(api, { method: "PUT", headers, body: JSON.stringify({ ...now, level: 0.9 }) });
  }, api);
  const late = await sent(page, "PUT", /^\/api\/models\//, () => dialog.getByRole("button", { name: "Save" }).click());
  assert.equal(late.response.status(), 412);
  assert.match(late.headers["if-match"], /^"\d+"$/);
  await dialog.getByText(/Somebody else has changed it/).waitFor();
  await axe(page);
  await dialog.getByRole("button", { name: "Load it again" }).click();
  await page.waitForFunction(() => document.querySelector("#model-level")?.value === "0.9");
  await dialog.getByLabel("Horizon").fill("9");
  const saved = await sent(page, "PUT", /^\/api\/models\//, () => dialog.getByRole("button", { name: "Save" }).click());
  assert.equal(saved.response.status(), 200);
  assert.deepEqual([saved.body.horizon, saved.body.level, saved.body.model_id], [9, 0.9, name]);
  await dialog.waitFor({ state: "detached" });

  await page.getByRole("button", { name: "Remove" }).click();
  const gone = await sent(page, "DELETE", /^\/api\/models\//, () => page.getByRole("dialog").getByRole("button", { name: "Remove" }).click());
  assert.equal(gone.response.status(), 204);
  await page.waitForURL("**/models");
}
// The browser writes the 422 and the 412 to the console.
modelIsMadeChangedAndRemoved.breaks = true;

async function letterIsMended({ page, axe }) {
  await page.route("**/api/dlq?*", (route) => route.fulfill({ json: { items: [LETTER], next: null } }));
  await page.route("**/api/dlq/replay", (route) => route.fulfill({ json: { replayed: 1, skipped: 0 } }));
  await page.goto("/dlq");
  await page.locator(".letter > summary").first().click();
  await page.getByRole("button", { name: "Edit and send again" }).click();
  const dialog = page.getByRole("dialog");
  const text = dialog.getByLabel("Record");
  await eventually(async () => assert.equal(await text.inputValue(), LETTER.payload));
  await dialog.getByText(/^Not JSON/).waitFor();
  await eventually(async () => assert.equal(await dialog.getByRole("button", { name: "Send" }).isDisabled(), true));
  await axe(page);
  // Its number is past what a double holds: it must arrive as it was written.
  const mended = '{"source":"sensor_0012","type":"sensor_data","data":{"id":9007199254740993}}';
  await text.fill(mended);
  const { body } = await sent(page, "POST", /^\/api\/dlq\/replay$/, () => dialog.getByRole("button", { name: "Send" }).click());
  assert.deepEqual(body, { ids: [LETTER.id], payload: mended });
  await page.getByText("1 record sent again.").waitFor();
  await dialog.waitFor({ state: "detached" });
}

async function publishingIsRead({ page }) {
  await page.goto("/kafka");
  await page.locator(".tiles").waitFor();
  const week = await sent(page, "GET", /\/metrics\/summary\?period=last_7_days/, () => page.getByRole("group", { name: "Period" }).getByText("7 days").click());
  assert.equal(week.response.status(), 200);
  assert.equal(query(page).get("period"), "last_7_days");
  await sent(page, "GET", /\/metrics\/hourly\?hours=168/, () => page.getByRole("group", { name: "Span" }).getByText("7 days").click());
  assert.equal(query(page).get("hours"), "168");
  await page.locator(".by-hour :is(.uplot canvas, .state:not(.loading))").first().waitFor();
  await page.goBack();
  await page.waitForFunction(() => !new URLSearchParams(location.search).has("hours"));
}

async function topicIsLookedInto({ page, axe }) {
  await page.goto("/kafka");
  await page.locator(".topics-table").getByRole("link", { name: "analytics-events", exact: true }).click();
  await page.waitForURL("**/kafka/analytics-events");
  await eventually(async () => assert.equal(await page.title(), "analytics-events · Tidecast"));
  const record = page.locator(".record").first();
  await record.locator("summary").click();
  const value = await record.locator("pre").textContent();
  assert.match(value, /^\{\n {2}"/, "JSON over several lines");
  const narrowed = await sent(page, "GET", /records\?limit=50&partition=1$/, () => page.getByLabel("Partition").selectOption("1"));
  assert.equal(narrowed.response.status(), 200);
  await page.waitForFunction(() => [...document.querySelectorAll(".record .letter-origin")].every((cell) => cell.textContent.startsWith("1 @")));
  await sent(page, "GET", /records\?limit=50&partition=1&contains=no-such-text-anywhere$/, () => page.getByRole("searchbox").fill("no-such-text-anywhere"));
  await page.getByText(/^No record matches/).waitFor();
  assert.equal(query(page).get("q"), "no-such-text-anywhere");
  await axe(page);
  await page.getByRole("button", { name: "Clear the filters" }).click();
  await page.locator(".record").first().waitFor();
  // Further back, and forth again.
  await page.waitForFunction(() => !location.search);
  const older = page.getByRole("button", { name: "Older" });
  if (await older.count()) {
    const first = await page.locator(".record summary").first().textContent();
    await sent(page, "GET", /&cursor=/, () => older.click());
    await page.getByRole("heading", { name: "Older records" }).waitFor();
    await page.waitForFunction((first) => document.querySelector(".record summary")?.textContent !== first, first);
    await page.getByRole("button", { name: "Newest" }).click();
    await page.getByRole("heading", { name: "Newest records" }).waitFor();
  }
  // Follows: asks again by itself, and stops when told to.
  await page.getByRole("button", { name: "Follow" }).click();
  await page.waitForURL(/follow=1/);
  for (let i = 0; i < 2; i++) await page.waitForRequest(/\/records\?/, { timeout: 4_000 });
  await page.getByRole("button", { name: "Follow" }).click();
  await page.waitForURL((url) => !url.searchParams.has("follow"));
  await page.waitForTimeout(200);
  let asked = 0;
  page.on("request", (request) => (asked += /\/records\?/.test(request.url()) ? 1 : 0));
  await page.waitForTimeout(2_600);
  assert.equal(asked, 0, "it went on asking");
  await page.goto("/kafka/there.is.no-such-topic");
  await page.getByText(/^There is no topic of this name/).waitFor();
}
topicIsLookedInto.breaks = true;

async function messageIsSentByHand({ page, axe }) {
  // Answered here: a record in a real topic could not be taken back.
  await page.route("**/api/kafka/send", (route) => {
    const { topic } = route.request().postDataJSON();
    return route.fulfill({ status: 201, json: { topic, partition: 3, offset: 12_345, timestamp: "2026-01-20T10:30:00Z" } });
  });
  await page.goto("/kafka/analytics-events");
  await page.getByRole("button", { name: "Send a message" }).click();
  const dialog = page.getByRole("dialog");
  const send = dialog.getByRole("button", { name: "Send" });
  await eventually(async () => assert.equal(await dialog.getByLabel("Topic").inputValue(), "analytics-events"));
  await dialog.getByLabel("Key").fill("JFK/B6");
  await dialog.getByLabel("Message").fill('{"a":');
  await dialog.getByText(/^Not JSON/).waitFor();
  await eventually(async () => assert.equal(await send.isDisabled(), true));
  await dialog.getByLabel("Message").fill('{"a":9007199254740993}');
  const { body } = await sent(page, "POST", /^\/api\/kafka\/send$/, () => send.click());
  assert.deepEqual(body, { topic: "analytics-events", key: "JFK/B6", message: '{"a":9007199254740993}' });
  await dialog.getByText("partition 3, offset 12,345").waitFor();
  await axe(page);
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  await eventually(async () => assert.match(await page.evaluate(() => document.activeElement.textContent), /Send a message/, "the focus goes back"));
}

async function connectionIsTried({ page }) {
  await page.route("**/api/kafka/test", (route) => {
    const { bootstrap_servers } = route.request().postDataJSON();
    const connected = bootstrap_servers === "good:9092";
    return route.fulfill({ json: { status: connected ? "success" : "error", connected, bootstrap_servers, ...(connected ? { brokers: 3 } : { error: "no broker answered within 5 s" }), test_timestamp: "2026-01-20T10:30:00Z" } });
  });
  await page.goto("/kafka");
  await page.getByRole("button", { name: "Try a connection" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Brokers").fill("bad:9092");
  await dialog.getByRole("button", { name: "Try" }).click();
  await dialog.getByText("Not connected: no broker answered within 5 s").waitFor();
  await dialog.getByLabel("Brokers").fill("good:9092");
  await dialog.getByLabel("Protocol").selectOption("SASL_SSL");
  await dialog.getByLabel("User").fill("u");
  await dialog.getByLabel("Password").fill("p");
  const { body } = await sent(page, "POST", /^\/api\/kafka\/test$/, () => dialog.getByRole("button", { name: "Try" }).click());
  assert.deepEqual(body, { bootstrap_servers: "good:9092", security_protocol: "SASL_SSL", sasl_mechanism: "PLAIN", sasl_username: "u", sasl_password: "p" });
  await dialog.getByText("Connected: 3 brokers.").waitFor();
}

async function sessionsAreFound({ page, axe }) {
  const client = (id, more) => ({ id, kind: "websocket", address: `10.0.0.${id}:4711`, user: null, connected_at: "2026-01-20T10:30:00Z", format: "json", subscriptions: 1, queued: 0, queued_bytes: 0, skipped: 0, ...more });
  const items = [client(1), client(2, { user: "wall", skipped: 40_118 }), client(3, { kind: "ingest", address: null, format: null, subscriptions: 0 })];
  await page.route("**/api/sessions?*", (route) => route.fulfill({ json: { items, next: null } }));
  await page.goto("/sessions");
  const rows = page.locator(".sorted-table tbody tr");
  await rows.nth(2).waitFor();
  await page.getByRole("button", { name: "Skipped" }).click();
  await page.waitForURL(/sort=skipped%3Adesc|sort=skipped:desc/);
  await eventually(async () => assert.match(await rows.first().textContent(), /wall/));
  await page.getByRole("searchbox").fill("10.0.0.1");
  await page.waitForURL(/q=10\.0\.0\.1/);
  await page.waitForFunction(() => document.querySelectorAll(".sorted-table tbody tr").length === 1);
  await page.reload();
  await rows.first().waitFor();
  await eventually(async () => assert.equal(await rows.count(), 1));
  await page.getByRole("searchbox").fill("nobody at all");
  await page.getByText(/^No client matches/).waitFor();
  await axe(page);
}

async function auditIsRead({ page, axe }) {
  const entry = (n, more) => ({ id: String(n).padStart(16, "0"), timestamp: "2026-01-20T10:30:00Z", subject: "ann", address: "127.0.0.1", action: "model.replace", path: "/api/models/delays%2FJFK", before: { level: 0.95, metadata: { region: "Nord" } }, after: { level: 0.9, metadata: { region: "Nord" }, state: "live" }, ...more });
  const asked = [];
  await page.route("**/api/audit?*", (route) => {
    const url = new URL(route.request().url());
    asked.push(url.search);
    const older = url.searchParams.get("cursor") === "c1";
    return route.fulfill({ json: older ? { items: [entry(1, { subject: null, action: "silence.delete", path: "/api/silences/night", before: { name: "night" }, after: null })], next: null } : { items: [entry(3), entry(2, { action: "kafka.send", path: "/api/kafka/send", request: { topic: "orders", message: { n: 1 } }, before: null, after: { topic: "orders", offset: 7 } })], next: "c1" } });
  });
  await page.goto("/audit");
  await page.locator(".entry > summary").first().click();
  const open = page.locator(".entry[open]");
  await open.locator("del", { hasText: "0.95" }).waitFor();
  await open.locator("ins", { hasText: "0.9" }).waitFor();
  await eventually(async () => assert.equal(await open.locator(".diff-field").count(), 1, "what did not change, and what is no setting, is left out"));
  await open.getByRole("link", { name: "Open delays/JFK" }).waitFor();
  await page.locator(".entry > summary", { hasText: "sent a message" }).click();
  const sent = page.locator(".entry[open]", { hasText: "sent a message" });
  await sent.getByRole("heading", { name: "Asked for" }).waitFor();
  await eventually(async () => assert.deepEqual(await sent.locator(".diff-name").allTextContents(), ["topic", "message.n", "topic", "offset"]));
  await axe(page);
  await page.getByRole("button", { name: "Older" }).click();
  await page.waitForURL(/cursor=c1/);
  await page.locator(".entry", { hasText: "ended a silence" }).waitFor();
  await page.goBack();
  await page.locator(".entry", { hasText: "changed a model" }).first().waitFor();
  await page.getByRole("combobox", { name: "Action" }).selectOption("model.replace");
  await page.waitForURL(/action=model\.replace/);
  await page.getByRole("searchbox").fill("ann");
  await page.waitForURL(/q=ann/);
  await eventually(() => assert.ok(asked.some((search) => search.includes("action=model.replace")) && asked.some((search) => search.includes("search=ann")), asked.join()));
}

async function refusalIsPolite({ page, axe }) {
  const refuse = (route) => route.fulfill({ status: 403, contentType: "application/problem+json", body: JSON.stringify({ type: "about:blank", title: "Forbidden", status: 403, detail: "the token's roles do not include this" }) });
  await page.route(/\/api\/(audit|sessions)\?/, refuse);
  for (const [address, what] of [["/audit", "The audit log"], ["/sessions", "The list of who is connected"]]) {
    await page.goto(address);
    await page.getByText(`${what} is for administrators`).waitFor();
    await eventually(async () => assert.equal(await page.getByRole("button", { name: "Try again" }).count(), 0));
    await axe(page);
  }
}
refusalIsPolite.breaks = true;

/** What the token's roles do not give is not offered. */
async function viewerIsOfferedNothing({ page }) {
  // The server here may want no token at all, and refuses none of its own; so it never sees this one.
  await page.route("**/api/**", async (route) => {
    const { authorization, ...headers } = await route.request().allHeaders();
    return route.continue({ headers });
  });
  const claims = Buffer.from(JSON.stringify({ sub: "vera", roles: ["viewer"] })).toString("base64url");
  await page.addInitScript((text) => sessionStorage.setItem("tidecast.token", text), `e30.${claims}.c2ln`);
  for (const [address, offered] of [["/kafka", /Send a message|Try a connection/], ["/models", /New model/], ["/alerts", /^(Acknowledge|Silence|New silence)/], ["/rules", /New rule/], ["/rules?create=1", /Create|Try it/]]) {
    await page.goto(address);
    await page.locator(".kafka .facts, .vtable-body .vrow, .alerts .alert, .rule, #condition, main > div > .panel .state:not(.loading)").first().waitFor();
    await eventually(async () => assert.equal(await page.getByRole("button", { name: offered }).count(), 0, address));
    await eventually(async () => assert.equal(await page.getByRole("main").getByRole("link", { name: offered }).count(), 0, address));
  }
}

async function pipelineIsRead({ page }) {
  await page.goto("/");
  await page.locator(".pipeline").getByRole("link", { name: "Details" }).click();
  await page.waitForURL("**/pipeline");
  await eventually(async () => assert.equal(await page.title(), "Pipeline · Tidecast"));
  await page.locator(".flow .flow-stage").first().waitFor();
  const names = await page.locator(".flow-stage .flow-name").allTextContents();
  const at = (name) => names.findIndex((text) => text.startsWith(name));
  assert.ok(at("aggregator") >= 0 && at("aggregator") < at("publisher"), names.join());
  await page.locator(".ledger-sum").waitFor();
  await page.getByText("Lag in event time").waitFor();
  await page.getByText("Until it is cleared").waitFor();
}

async function pagesCanBeReached({ page }) {
  for (const width of [1280, 900, 400]) {
    await page.setViewportSize({ width, height: 860 });
    await page.goto("/");
    for (const name of ["Pipeline", "Sessions", "Audit", "Kafka"]) {
      const link = page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name, exact: true });
      await link.waitFor();
      const box = await link.boundingBox();
      assert.ok(box.x >= 0 && box.x + box.width <= width, `${name} sticks out at ${width}`);
      await link.click();
      await page.waitForURL(`**/${name.toLowerCase()}`);
      await eventually(async () => assert.equal(await link.getAttribute("aria-current"), "page"));
      await eventually(async () => assert.equal(await page.title(), `${name} · Tidecast`));
    }
  }
}

export const deskChecks = {
  "an alert is acknowledged, and that taken back": alertIsAcknowledged,
  "an alert is silenced": alertIsSilenced,
  "a model is made, changed and removed": modelIsMadeChangedAndRemoved,
  "a dead letter is mended": letterIsMended,
  "publishing is read": publishingIsRead,
  "a topic is looked into": topicIsLookedInto,
  "a message is sent by hand": messageIsSentByHand,
  "a connection is tried": connectionIsTried,
  "sessions are found": sessionsAreFound,
  "the audit is read": auditIsRead,
  "what a role may not see is said politely": refusalIsPolite,
  "a viewer is offered nothing to change": viewerIsOfferedNothing,
  "the pipeline is read": pipelineIsRead,
  "every page can be reached at any width": pagesCanBeReached,
};
