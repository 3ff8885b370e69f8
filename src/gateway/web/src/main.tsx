import { render } from "preact";
import "uplot/dist/uPlot.min.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/parts.css";
import "./styles/pages.css";
import "./styles/operations.css";
import { App } from "./app.tsx";
import { startByType } from "./live/by_type.ts";
import { start } from "./live/hub.ts";
import { startStats } from "./live/stats.ts";

startStats();
startByType();
void start();
render(<App />, document.getElementById("app")!);
