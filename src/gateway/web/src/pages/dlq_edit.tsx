import { useState } from "preact/hooks";
import { type Problem, call, problemOf } from "../api.ts";
import * as format from "../format.ts";
import { pretty, readJson } from "../json.ts";
import type { DeadLetter } from "../model.ts";
import { Dialog, Field, described } from "../ui/form.tsx";

export interface Replayed {
  replayed: number;
  skipped: number;
}

/** One record with its bytes mended by hand, sent to where it came from. */
export function EditLetter({ letter, onClose, onSent }: { letter: DeadLetter; onClose: () => void; onSent: (answer: Replayed) => void }) {
  const [text, setText] = useState(() => pretty(letter.payload ?? "") ?? letter.payload ?? "");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const fault = text.trim() ? readJson(text).fault : "Nothing to send: the record is empty.";
  const said = problem?.faultOf("payload") ?? fault;

  const send = async () => {
    setBusy(true);
    setProblem(null);
    try {
      // As a text it goes out as it stands here: reading it into numbers first would round the large ones.
      onSent(await call<Replayed>("POST", "/api/dlq/replay", { ids: [letter.id], payload: text }));
    } catch (error) {
      setProblem(problemOf(error));
      setBusy(false);
    }
  };

  return (
    <Dialog
      wide
      title="Edit and send again"
      action="Send"
      busy={busy}
      disabled={!!fault}
      problem={problem?.isElsewhere(["payload"]) ? problem : null}
      onSubmit={() => void send()}
      onClose={onClose}
    >
      <p>
        It goes to <b>{letter.topic}</b> with the key {letter.key == null ? "that it had: none" : <code>{letter.key}</code>}. It was refused as{" "}
        {letter.reason.replaceAll("_", " ")}
        {letter.detail && `: ${letter.detail}`}.
      </p>
      {letter.truncated && <p class="notice">The record was cut when it was set aside: what follows is its beginning.</p>}
      {letter.payload == null && letter.payload_base64 && (
        <p class="notice">Its {format.plural(bytesOf(letter.payload_base64), "byte")} are no text; what you write here takes their place.</p>
      )}
      <Field id="letter-payload" label="Record" fault={said} help={said ? undefined : "JSON, and sent as it stands here."}>
        <textarea
          {...described("letter-payload", said, said ? undefined : "help")}
          class="code"
          rows={14}
          spellcheck={false}
          value={text}
          onInput={(event) => (setText(event.currentTarget.value), setProblem(null))}
        />
      </Field>
    </Dialog>
  );
}

function bytesOf(base64: string): number {
  return Math.floor((base64.replace(/=+$/, "").length * 3) / 4);
}
