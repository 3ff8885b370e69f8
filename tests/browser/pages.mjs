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
  { name: "rule-new", address: "/rules/new", ready: (page) => visible(page, "#condition") },
  { name: "dlq", address: "/dlq", ready: (page) => visible(page, ".letters .letter, main .state:not(.loading)") },
  { name: "kafka", address: "/kafka", ready: (page) => visible(page, ".kafka .facts, .kafka .failed") },
  { name: "nowhere", address: "/alerts/no/such/page", ready: (page) => visible(page, "main h1") },
];

/** Two frames without a pending fetch: charts have been drawn. */
async function settled(page) {
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
}
