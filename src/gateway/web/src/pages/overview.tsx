import { type Answer, howFarBehind, isItWell, whatIsOdd } from "../answers.ts";
import { Sparkline } from "../charts/sparkline.tsx";
import * as format from "../format.ts";
import { useAlerts } from "../live/alerts.ts";
import { ready, samples, stats, statsError } from "../live/stats.ts";
import { Empty, Failed, Loading, Panel } from "../ui/panel.tsx";
import { LevelMark } from "../ui/marks.tsx";
import { AlertList } from "./alert_list.tsx";
import { ByType } from "./by_type.tsx";
import { Oddities } from "./oddities.tsx";
import { Pipeline } from "./pipeline.tsx";

/** One look: is it well, what is odd, how far behind; then the evidence. */
export function Overview() {
  const alerts = useAlerts(200);
  const unreachable = statsError.value ? statsError.value.message : null;
  const findings = { stats: stats.value, unreachable, ready: ready.value, alerts: alerts.data.value };
  return (
    <div class="overview">
      <h1 class="sr-only">Overview</h1>
      <div class="answers">
        <AnswerCard question="Is it well?" answer={isItWell(findings)} href={null} />
        <AnswerCard question="What is odd?" answer={whatIsOdd(findings.alerts)} href="/alerts" />
        <AnswerCard question="How far behind?" answer={howFarBehind(stats.value, unreachable)} href={null} />
      </div>
      <Figures />
      <Oddities alerts={alerts} />
      <div class="left">
        <ByType />
        <TopSources />
      </div>
      <Panel title="Latest alerts" class="latest" actions={<a href="/alerts">All alerts</a>}>
        {alerts.data.value ? (
          <AlertList alerts={alerts.data.value.slice(0, 12)} brief />
        ) : alerts.error.value ? (
          <Failed error={alerts.error.value} retry={alerts.refresh} />
        ) : (
          <Loading rows={6} />
        )}
      </Panel>
      <Pipeline />
    </div>
  );
}

function AnswerCard({ question, answer, href }: { question: string; answer: Answer; href: string | null }) {
  return (
    <section class={`answer answer-${answer.level}`}>
      <h2>{question}</h2>
      <p class="answer-headline">
        <LevelMark level={answer.level} />
        {href ? <a href={href}>{answer.headline}</a> : answer.headline}
      </p>
      {answer.details.map((detail) => (
        <p key={detail} class="answer-detail">
          {detail}
        </p>
      ))}
    </section>
  );
}

/** The figures behind the answers, each with its last half hour. */
function Figures() {
  const s = stats.value;
  const past = samples.value;
  const errors = past.map((sample, i) => (i ? Math.max(0, sample.errors - past[i - 1]!.errors) : 0));
  return (
    <section class="figures" aria-label="Figures">
      <Figure name="Events" unit="/s" text={format.rate(s?.processor.events_per_second)} past={past.map((p) => p.eventsPerSecond)} />
      <Figure name="Lag" unit="records" text={format.count(s?.processor.lag)} past={past.map((p) => p.lag)} />
      <Figure name="Processing p99" unit="" text={format.millis(s?.processor.p99_latency_ms)} past={past.map((p) => p.p99_ms)} />
      <Figure name="Errors" unit="" text={format.count(s?.processor.errors)} past={errors} />
      <dl class="figure figure-list">
        <dt>Events in all</dt>
        <dd>{format.count(s?.processor.total_events)}</dd>
        <dt>Models</dt>
        <dd>{format.count(s?.service.registered_models)}</dd>
        <dt>Forecasts</dt>
        <dd>{format.count(s?.service.forecast_count)}</dd>
        <dt>Live clients</dt>
        <dd>{format.count(s?.websocket.active_connections)}</dd>
        <dt>Buffers full</dt>
        <dd>{format.percent(s?.buffer.utilization, 0)}</dd>
        <dt>Dropped</dt>
        <dd>{format.percent(s?.buffer.drop_rate)}</dd>
      </dl>
    </section>
  );
}

interface FigureProps {
  name: string;
  unit: string;
  text: string;
  past: (number | null)[];
}

function Figure({ name, unit, text, past }: FigureProps) {
  return (
    <div class="figure">
      <div class="figure-name">{name}</div>
      <div class="figure-value">
        {text} {unit && <small>{unit}</small>}
      </div>
      <Sparkline values={past} floor={0} area />
    </div>
  );
}

function TopSources() {
  const s = stats.value;
  if (!s) return null;
  const most = Math.max(1, ...s.top_sources.map((source) => source.count));
  return (
    <Panel title="Busiest sources" note="events">
      {s.top_sources.length ? (
        <table class="bars-table">
          <thead class="sr-only">
            <tr>
              <th>Source</th>
              <th>Events</th>
            </tr>
          </thead>
          <tbody>
            {s.top_sources.slice(0, 8).map((source) => (
              <tr key={source.source}>
                <th scope="row">
                  <span class="bar-back" style={{ inlineSize: `${(source.count / most) * 100}%` }} />
                  <span class="bar-name">{source.source}</span>
                </th>
                <td class="num">{format.count(source.count)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        <Empty>No events yet.</Empty>
      )}
    </Panel>
  );
}
