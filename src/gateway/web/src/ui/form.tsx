import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Problem } from "../api.ts";

interface FieldProps {
  id: string;
  label: string;
  fault?: string | undefined;
  help?: string | undefined;
  children: ComponentChildren;
}

/** A labelled input with what is wrong with it, and what it is for. */
export function Field({ id, label, fault, help, children }: FieldProps) {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children}
      {fault ? (
        <p class="fault" role="alert" id={`${id}-fault`}>
          {fault}
        </p>
      ) : null}
      {help ? (
        <p class="faint" id={`${id}-help`}>
          {help}
        </p>
      ) : null}
    </div>
  );
}

/** What goes with an input of a `Field`: it is read out with its fault and its help. */
export function described(id: string, fault: string | undefined, help?: string) {
  const by = [fault ? `${id}-fault` : "", help ? `${id}-help` : ""].filter(Boolean).join(" ");
  return { id, "aria-invalid": fault ? true : undefined, "aria-describedby": by || undefined } as const;
}

interface DialogProps {
  title: string;
  /** What the button does, in its own words; none: there is nothing to send. */
  action?: string;
  /** Something is still missing or wrong. */
  disabled?: boolean;
  /** An answer is waited for. The button keeps the focus meanwhile, and does nothing. */
  busy?: boolean;
  problem?: Problem | null;
  /** More than a sentence and a field or two. */
  wide?: boolean;
  children: ComponentChildren;
  /** Further buttons, before the others. */
  buttons?: ComponentChildren;
  /** The word on the button that leaves. [Cancel] */
  leave?: string;
  onSubmit?: () => void;
  onClose: () => void;
}

/** A form over the page. Escape leaves it; the focus goes back to where it came from. */
export function Dialog({ title, action, disabled, busy, problem, wide, children, buttons, leave = "Cancel", onSubmit, onClose }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current!.showModal();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  const submit = (event: Event) => {
    event.preventDefault();
    if (!disabled && !busy) onSubmit?.();
  };
  const cancel = (event: Event) => {
    event.preventDefault();
    onClose();
  };
  return (
    <dialog ref={dialog} class={wide ? "confirm dialog dialog-wide" : "confirm dialog"} aria-labelledby="dialog-title" onCancel={cancel}>
      <form onSubmit={submit}>
        <h2 id="dialog-title">{title}</h2>
        <div class="dialog-body">{children}</div>
        {problem && (
          <p class="fault" role="alert">
            {problem.title}
            {problem.detail && problem.detail !== problem.title ? `: ${problem.detail}` : ""}
          </p>
        )}
        <div class="confirm-buttons">
          {buttons}
          <button type="button" onClick={onClose}>
            {leave}
          </button>
          {action && (
            <button type="submit" class="primary" disabled={disabled} aria-busy={busy}>
              {action}
            </button>
          )}
        </div>
      </form>
    </dialog>
  );
}
