import { useEffect, useRef } from "preact/hooks";
import { Alerts } from "./pages/alerts.tsx";
import { Audit } from "./pages/audit.tsx";
import { DeadLetters } from "./pages/dlq.tsx";
import { Kafka } from "./pages/kafka.tsx";
import { TopicPage } from "./pages/kafka_topic.tsx";
import { Login } from "./pages/login.tsx";
import { ModelPage } from "./pages/model.tsx";
import { Models } from "./pages/models.tsx";
import { Overview } from "./pages/overview.tsx";
import { PipelinePage } from "./pages/pipeline_page.tsx";
import { RulePage } from "./pages/rule.tsx";
import { Rules } from "./pages/rules.tsx";
import { Sessions } from "./pages/sessions.tsx";
import { decoded, path, query } from "./router.ts";
import { loginWanted } from "./session.ts";
import { Header } from "./shell.tsx";
import { Empty } from "./ui/panel.tsx";

export function App() {
  const here = path.value;
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  const { title, page } = route(here);
  const wanted = loginWanted.value !== null;
  // A page that is there stays, under the login: what was typed in it is not lost with a token's life.
  const begun = useRef(false);
  if (!wanted) begun.current = true;

  useEffect(() => {
    document.title = wanted ? "Log in · Tidecast" : `${title} · Tidecast`;
    // A reader who followed a link should find themselves at the new page's beginning, by ear as by eye.
    if (!first.current) main.current?.focus({ preventScroll: true });
    first.current = false;
  }, [here, wanted]);

  return (
    <>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        Skip to the content
      </a>
      <Header />
      <main id="main" ref={main} tabIndex={-1}>
        {wanted && <Login />}
        {begun.current && <div hidden={wanted}>{page}</div>}
      </main>
    </>
  );
}

function route(here: string) {
  const [, first = "", rest] = /^\/([^/]*)(?:\/(.+))?$/.exec(here.replace(/(.)\/$/, "$1")) ?? [];
  const name = rest === undefined ? undefined : decoded(rest);
  if (first === "") return { title: "Overview", page: <Overview /> };
  if (first === "models") {
    return name === undefined
      ? { title: "Models", page: <Models /> }
      : { title: name, page: <ModelPage key={name} id={name} /> };
  }
  if (first === "rules") {
    if (name === undefined && query.value.get("create") === "1") return { title: "New rule", page: <RulePage key="" name={null} /> };
    return name === undefined
      ? { title: "Rules", page: <Rules /> }
      : { title: name, page: <RulePage key={name} name={name} /> };
  }
  if (first === "alerts" && !name) return { title: "Alerts", page: <Alerts /> };
  if (first === "dlq" && !name) return { title: "Dead letters", page: <DeadLetters /> };
  if (first === "kafka") {
    return name === undefined
      ? { title: "Kafka", page: <Kafka /> }
      : { title: name, page: <TopicPage key={name} name={name} /> };
  }
  if (first === "pipeline" && !name) return { title: "Pipeline", page: <PipelinePage /> };
  if (first === "sessions" && !name) return { title: "Sessions", page: <Sessions /> };
  if (first === "audit" && !name) return { title: "Audit", page: <Audit /> };
  return {
    title: "Not found",
    page: (
      <>
        <h1>Not found</h1>
        <Empty>
          There is no page at <code>{here}</code>. <a href="/">Back to the overview</a>
        </Empty>
      </>
    ),
  };
}
