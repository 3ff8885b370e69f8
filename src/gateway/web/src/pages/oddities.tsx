import { useState } from "preact/hooks";
import * as format from "../format.ts";
import { type WholeAnomaly, excess, worst } from "../live/alerts.ts";
import { useTimeline } from "../live/use_timeline.ts";
import type { AlertItem, ModelRow } from "../model.ts";
import { get } from "../api.ts";
import { type Resource, useResource } from "../resource.ts";
import { modelPath, query, setQuery } from "../router.ts";
import { RangeBar, SeverityTag } from "../ui/marks.tsx";
import { Empty, Loaded, Panel } from "../ui/panel.tsx";
import { When } from "../ui/when.tsx";
import { ModelChart } from "./model_chart.tsx";

/** Enough to see an anomaly of some days ago among what was usual before it, at a window an hour. */
const WINDOWS = 240;
/** Older alerts are no news, however bad. */
const NEWEST = 100;

/** The worst anomalies of the newest alerts, and the model behind the chosen one. */
export function Oddities({ alerts }: { alerts: Resource<AlertItem[]> }) {
  const [held, setHeld] = useState<string | null>(null);
  const list = alerts.data.value ? worst(alerts.data.value.slice(0, NEWEST), 7) : [];
  const wanted = query.value.get("show") ?? held;
  const chosen = list.find((anomaly) => anomaly.model_id === wanted) ?? list[0];
  const choose = (id: string) => {
    setHeld(id);
    setQuery({ show: id }, "replace");
  };
  return (
    <>
      <Panel title="Worst anomalies" class="worst" note="of the newest alerts, one a model">
        <Loaded of={alerts} rows={7}>
          {() =>
            list.length ? (
              <ul class="oddities">
                {list.map((anomaly) => (
                  <li key={anomaly.model_id}>
                    <button
                      type="button"
                      class="oddity"
                      aria-pressed={anomaly === chosen}
                      onClick={() => choose(anomaly.model_id)}
                    >
                      <OddityRow anomaly={anomaly} />
                    </button>
                  </li>
                ))}
              </ul>
            ) : (
              <Empty>No anomaly among the newest alerts. A score at or above its model's threshold is one.</Empty>
            )
          }
        </Loaded>
      </Panel>
      {chosen ? (
        <ChosenModel key={chosen.model_id} anomaly={chosen} />
      ) : (
        <Panel title="Model" class="chosen">
          <Empty>The model of the chosen anomaly is drawn here.</Empty>
        </Panel>
      )}
    </>
  );
}

function OddityRow({ anomaly }: { anomaly: WholeAnomaly }) {
  const [lower, upper] = anomaly.expected_range;
  const far = excess(anomaly);
  return (
    <>
      <span class="oddity-name">{anomaly.model_id}</span>
      <span class="oddity-when">
        <When at={anomaly.timestamp} seconds={false} />
      </span>
      <SeverityTag severity={anomaly.severity} />
      <RangeBar observed={anomaly.observed_value} lower={lower} upper={upper} predicted={anomaly.predicted_value} />
      <span class="oddity-what" title={Number.isFinite(far) ? `${far.toFixed(1)} times the margin` : undefined}>
        <b>{format.brief(anomaly.observed_value)}</b>, expected {format.brief(lower)} to {format.brief(upper)}
      </span>
    </>
  );
}

function ChosenModel({ anomaly }: { anomaly: WholeAnomaly }) {
  const id = anomaly.model_id;
  const model = useResource<ModelRow>((signal) => get(`/api/models/${encodeURIComponent(id)}`, signal), ["model", id]);
  const row = model.data.value;
  const { loaded, timeline } = useTimeline(id, row, WINDOWS, 10_000);
  return (
    <Panel
      title={id}
      class="chosen"
      note={row ? `${row.model_type}, ${row.field} of ${row.series}` : ""}
      actions={<a href={modelPath(id)}>Open the model</a>}
    >
      <Loaded of={model} rows={6}>
        {() => (
          <Loaded of={loaded} rows={6}>
            {() => <ModelChart id={id} timeline={timeline.value} height={286} />}
          </Loaded>
        )}
      </Loaded>
    </Panel>
  );
}
