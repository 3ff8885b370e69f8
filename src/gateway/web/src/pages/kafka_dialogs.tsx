import { useState } from "preact/hooks";
import { type Problem, call, problemOf } from "../api.ts";
import * as format from "../format.ts";
import { readJson } from "../json.ts";
import { topicPath } from "../router.ts";
import { LevelMark } from "../ui/marks.tsx";
import { Dialog, Field, described } from "../ui/form.tsx";

interface Place {
  topic: string;
  partition: number;
  offset: number;
}

/** One message by hand: where to, and what; then says where it came to stand. */
export function SendMessage({ topic: given, topics, onClose }: { topic: string; topics: string[]; onClose: () => void }) {
  const [topic, setTopic] = useState(given);
  const [key, setKey] = useState("");
  const [text, setText] = useState("");
  const [isText, setIsText] = useState(false);
  const [place, setPlace] = useState<Place | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const read = readJson(text);
  const fault = isText || !text.trim() ? undefined : read.fault;
  const faultOf = (name: string) => problem?.faultOf(name);
  const changed = () => (setPlace(null), setProblem(null));

  const send = async () => {
    setBusy(true);
    changed();
    try {
      // JSON goes as the text that was checked: read into numbers, large ones would be rounded on the way.
      setPlace(await call<Place>("POST", "/api/kafka/send", { topic: topic.trim(), key: key || null, message: text }));
    } catch (error) {
      setProblem(problemOf(error));
    }
    setBusy(false);
  };

  return (
    <Dialog
      wide
      title="Send a message"
      action="Send"
      leave={place ? "Close" : "Cancel"}
      busy={busy}
      disabled={!topic.trim() || !text.trim() || !!fault}
      problem={problem?.isElsewhere(["topic", "key", "message"]) ? problem : null}
      onSubmit={() => void send()}
      onClose={onClose}
    >
      <Field id="send-topic" label="Topic" fault={faultOf("topic")}>
        <input
          {...described("send-topic", faultOf("topic"))}
          list="send-topics"
          required
          spellcheck={false}
          value={topic}
          onInput={(e) => (setTopic(e.currentTarget.value), changed())}
        />
        <datalist id="send-topics">
          {topics.map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
      </Field>
      <Field id="send-key" label="Key" fault={faultOf("key")} help="Empty: none, and any partition.">
        <input {...described("send-key", faultOf("key"), "help")} spellcheck={false} value={key} onInput={(e) => (setKey(e.currentTarget.value), changed())} />
      </Field>
      <Field id="send-message" label="Message" fault={fault ?? faultOf("message")}>
        <textarea
          {...described("send-message", fault ?? faultOf("message"))}
          class="code"
          rows={9}
          spellcheck={false}
          value={text}
          onInput={(e) => (setText(e.currentTarget.value), changed())}
        />
      </Field>
      <label class="check">
        <input type="checkbox" checked={isText} onChange={(e) => setIsText(e.currentTarget.checked)} /> It need not be JSON
      </label>
      <div role="status">
        {place && (
          <p class="verdict-line">
            <LevelMark level="good" />
            <span>
              Sent to <a href={topicPath(place.topic)}>{place.topic}</a>, partition {place.partition}, offset {format.exact(place.offset)}.
            </span>
          </p>
        )}
      </div>
    </Dialog>
  );
}

interface Tried {
  connected: boolean;
  brokers?: unknown;
  error?: string;
}

const PROTOCOLS = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
const MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/** Whether a broker can be reached with these settings; nothing is kept. */
export function TryConnection({ servers: given, onClose }: { servers: string; onClose: () => void }) {
  const [servers, setServers] = useState(given);
  const [protocol, setProtocol] = useState("PLAINTEXT");
  const [mechanism, setMechanism] = useState("PLAIN");
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const [cafile, setCafile] = useState("");
  const [tried, setTried] = useState<Tried | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const sasl = protocol.startsWith("SASL");

  const run = async () => {
    setBusy(true);
    setTried(null);
    setProblem(null);
    const settings: Record<string, string> = { bootstrap_servers: servers.trim(), security_protocol: protocol };
    if (sasl) Object.assign(settings, { sasl_mechanism: mechanism, sasl_username: username, sasl_password: password });
    if (protocol.endsWith("SSL") && cafile.trim()) settings["ssl_cafile"] = cafile.trim();
    try {
      setTried(await call<Tried>("POST", "/api/kafka/test", settings));
    } catch (error) {
      setProblem(problemOf(error));
    }
    setBusy(false);
  };

  return (
    <Dialog
      title="Try a connection"
      action={busy ? "Trying…" : "Try"}
      leave="Close"
      busy={busy}
      disabled={!servers.trim()}
      problem={problem}
      onSubmit={() => void run()}
      onClose={onClose}
    >
      <p>From the server, with these settings. Nothing is kept.</p>
      <Field id="try-servers" label="Brokers" help="host:port, with commas between">
        <input {...described("try-servers", undefined, "help")} required spellcheck={false} value={servers} onInput={(e) => setServers(e.currentTarget.value)} />
      </Field>
      <Field id="try-protocol" label="Protocol">
        <select id="try-protocol" value={protocol} onChange={(e) => setProtocol(e.currentTarget.value)}>
          {PROTOCOLS.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </Field>
      {sasl && (
        <>
          <Field id="try-mechanism" label="Mechanism">
            <select id="try-mechanism" value={mechanism} onChange={(e) => setMechanism(e.currentTarget.value)}>
              {MECHANISMS.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </Field>
          <Field id="try-username" label="User">
            <input id="try-username" autocomplete="off" spellcheck={false} value={username} onInput={(e) => setUsername(e.currentTarget.value)} />
          </Field>
          <Field id="try-password" label="Password">
            <input id="try-password" type="password" autocomplete="off" value={password} onInput={(e) => setPassword(e.currentTarget.value)} />
          </Field>
        </>
      )}
      {protocol.endsWith("SSL") && (
        <Field id="try-cafile" label="CA file" help="Its path on the server. Empty: the system's authorities.">
          <input {...described("try-cafile", undefined, "help")} spellcheck={false} value={cafile} onInput={(e) => setCafile(e.currentTarget.value)} />
        </Field>
      )}
      <div role="status">
        {tried && (
          <p class="verdict-line">
            <LevelMark level={tried.connected ? "good" : "bad"} />
            <span>
              {tried.connected
                ? `Connected${typeof tried.brokers === "number" ? `: ${format.plural(tried.brokers, "broker")}` : ""}.`
                : `Not connected: ${tried.error ?? "no reason was given"}`}
            </span>
          </p>
        )}
      </div>
    </Dialog>
  );
}
