import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

// The build is committed and embedded in the binary, and CI rebuilds it and compares: everything that could
// differ between two machines (source maps with paths, time stamps, unpinned versions) stays out.
export default defineConfig({
  // The client's sources, not its build: one step less, and the same bytes on every machine.
  resolve: { alias: { "tidecast-client": fileURLToPath(new URL("../typescript/src/index.ts", import.meta.url)) } },
  build: {
    target: "es2022",
    // `light-dark()` and nesting stay as written: browsers of 2024 and later know them.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    outDir: "dist",
    assetsDir: "assets",
    // Nothing may become a data: URI, for the pages' policy is default-src 'self'.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    // The notices that the libraries inside ask for.
    license: { fileName: "licenses.md" },
    reportCompressedSize: true,
  },
  server: {
    // `npm run dev` beside a running gateway: TIDECAST_URL=http://127.0.0.1:8000
    proxy: Object.fromEntries(
      ["/api", "/stream", "/health"].map((path) => [path, process.env["TIDECAST_URL"] ?? "http://127.0.0.1:8000"]),
    ),
  },
});
