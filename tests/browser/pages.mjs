// Every page, its address, and how to tell that it shows what it is for (not merely that it loaded).

const visible = (page, selector) => page.locator(selector).first().waitFor({ state: "visible", timeout: 20_000 });

export const pages = (model) => [
  {
    name: "overview",
    address: "/",
    ready: async (page) => {
      await page.waitForFunction(() => !/Asking|No answer/.test(document.querySelector(".answers")?.textContent ?? "Asking"));
      await visible(page, ".latest :is(.alert, .state:not(.loading))");
      await visible(page, ".by-type tbody tr");
      await visible(page, ".light-good");
      await settled(page);
    },
  },
  { name: "models", address: "/models", ready: (page) => visible(page, ".vtable-body .vrow") },
  {
    name: "model",
    address: `/models/${encodeURIComponent(model)}`,
    ready: async (page) => {
      await visible(page, ".model-main .uplot canvas");
      await visible(page, ".model-errors .uplot canvas");
      await settled(page);
    },
  },
  { name: "alerts", address: "/alerts", ready: (page) => visible(page, ".alerts .alert, main .state:not(.loading)") },
  { name: "rules", address: "/rules", ready: (page) => visible(page, ".rule") },
  { name: "rule-new", address: "/rules?create=1", ready: (page) => visible(page, "#condition") },
  { name: "dlq", address: "/dlq", ready: (page) => visible(page, ".letters .letter, main .state:not(.loading)") },
  {
    name: "kafka",
    address: "/kafka",
    ready: async (page) => {
      await visible(page, ".kafka .facts, .kafka .failed");
      await visible(page, ".topics-table a");
      await visible(page, ".tiles, .published .failed");
      await visible(page, ".by-hour :is(.uplot canvas, .state:not(.loading))");
      await settled(page);
    },
  },
  {
    name: "topic",
    address: "/kafka/analytics-events",
    ready: async (page) => {
      await page.locator(".record > summary").first().click();
      await visible(page, ".record[open] pre");
      await visible(page, ".by-hour :is(.uplot canvas, .state:not(.loading))");
      await settled(page);
    },
  },
  { name: "pipeline", address: "/pipeline", ready: (page) => visible(page, ".flow .flow-stage") },
  { name: "sessions", address: "/sessions", ready: (page) => visible(page, ".sorted-table tbody tr, main .state:not(.loading)") },
  {
    name: "audit",
    address: "/audit",
    ready: async (page) => {
      await visible(page, ".entry, main .state:not(.loading)");
      // The first is the newest, which has all that an entry can have.
      if (await page.locator(".entry").count()) await page.locator(".entry > summary").first().click();
    },
  },
  { name: "model-edit", address: `/models/${encodeURIComponent(model)}?edit=1`, ready: (page) => visible(page, "dialog #model-horizon") },
  { name: "model-new", address: "/models?create=1", ready: (page) => visible(page, "dialog #model-horizon") },
  {
    name: "silence-new",
    address: "/alerts",
    ready: async (page) => {
      await page.getByRole("button", { name: "New silence" }).click();
      await page.getByLabel("other").check();
      await visible(page, "dialog .short");
    },
  },
  {
    name: "acknowledge",
    address: "/alerts",
    ready: async (page) => {
      // By keyboard: under a pointer the rows move on as others come.
      await page.getByRole("button", { name: /^Acknowledge/ }).first().press("Enter");
      await visible(page, "dialog #acknowledge-note");
    },
  },
  {
    name: "dlq-edit",
    address: "/dlq",
    // There may be none: then there is one for this picture.
    before: (page) => page.route("**/api/dlq?*", (route) => route.fulfill({ json: { items: [LETTER], next: null } })),
    ready: async (page) => {
      await page.locator(".letter > summary").first().click();
      await page.getByRole("button", { name: "Edit and send again" }).click();
      await visible(page, "#letter-payload");
    },
  },
  {
    name: "kafka-send",
    address: "/kafka/analytics-events",
    ready: async (page) => {
      await page.getByRole("button", { name: "Send a message" }).click();
      await page.getByRole("textbox", { name: "Message" }).fill("{");
      await visible(page, "dialog .fault");
    },
  },
  {
    name: "kafka-try",
    address: "/kafka",
    ready: async (page) => {
      await page.getByRole("button", { name: "Try a connection" }).click();
      await page.getByLabel("Protocol").selectOption("SASL_SSL");
      await visible(page, "#try-cafile");
    },
  },
  { name: "nowhere", address: "/alerts/no/such/page", ready: (page) => visible(page, "main h1") },
];

/** A dead letter as the server tells it. */
export const LETTER = {
  id: "0-17",
  reason: "invalid_json",
  detail: "expected a value at byte 41",
  topic: "analytics-events",
  partition: 0,
  offset: 918_230,
  timestamp: "2026-01-20T10:30:00Z",
  key: "sensor_0012",
  payload: '{"source":"sensor_0012","type":"sensor_data","data":',
  payload_base64: null,
  truncated: false,
};

/** Two frames without a pending fetch: charts have been drawn. */
async function settled(page) {
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
}
