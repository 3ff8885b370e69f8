import { useState } from "preact/hooks";
import { type Problem, call, problemOf } from "../api.ts";
import type { AlertItem } from "../model.ts";
import { Dialog, Field, described } from "../ui/form.tsx";
import { nameOf } from "./alert_list.tsx";

/** As many as the server takes. */
const NOTE_MAX = 1_000;

/** Address of who has seen to an alert; one without an id of its own cannot be spoken of. */
export const acknowledgementPath = (id: string) => `/api/alerts/${encodeURIComponent(id)}/acknowledge`;

/** Asks for a note, which may be left out: Enter twice acknowledges without one. */
export function Acknowledge({ alert, onClose, onDone }: { alert: AlertItem & { id: string }; onClose: () => void; onDone: () => void }) {
  const [note, setNote] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const fault = problem?.faultOf("note");

  const send = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await call("POST", acknowledgementPath(alert.id), note.trim() ? { note: note.trim() } : undefined);
      onDone();
    } catch (error) {
      setProblem(problemOf(error));
      setBusy(false);
    }
  };

  return (
    <Dialog
      title={`Acknowledge the alert on ${nameOf(alert)}`}
      action="Acknowledge"
      busy={busy}
      problem={problem?.isElsewhere(["note"]) ? problem : null}
      onSubmit={() => void send()}
      onClose={onClose}
    >
      <p>{alert.message}</p>
      <Field id="acknowledge-note" label="Note" fault={fault} help="What is being done, for whoever reads it next. May be left out.">
        <input {...described("acknowledge-note", fault, "help")} maxLength={NOTE_MAX} value={note} onInput={(event) => setNote(event.currentTarget.value)} />
      </Field>
    </Dialog>
  );
}
