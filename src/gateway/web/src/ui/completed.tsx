import { useRef, useState } from "preact/hooks";
import type { Suggestion } from "../completion.ts";

interface CompletedProps {
  id: string;
  value: string;
  rows: number;
  describedBy: string;
  invalid: boolean;
  onChange: (text: string) => void;
  /** What may stand at the caret. */
  suggest: (text: string, caret: number) => { from: number; items: Suggestion[] } | null;
}

/** A field for code that offers how to go on: arrows choose, Tab or Enter takes, Escape closes. */
export function Completed({ id, value, rows, describedBy, invalid, onChange, suggest }: CompletedProps) {
  const area = useRef<HTMLTextAreaElement>(null);
  const [offered, setOffered] = useState<{ from: number; items: Suggestion[] } | null>(null);
  const [chosen, setChosen] = useState(0);
  const look = () => {
    const { selectionStart, selectionEnd, value: text } = area.current!;
    setOffered(selectionStart === selectionEnd ? suggest(text, selectionStart) : null);
    setChosen(0);
  };
  const take = (item: Suggestion) => {
    const field = area.current!;
    const caret = field.selectionStart;
    const from = offered!.from;
    onChange(value.slice(0, from) + item.text + value.slice(caret));
    setOffered(null);
    // The value comes with the next drawing, and the caret after it.
    requestAnimationFrame(() => {
      field.focus();
      field.setSelectionRange(from + item.text.length, from + item.text.length);
    });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (!offered) {
      if (event.key === " " && event.ctrlKey) {
        event.preventDefault();
        look();
      }
      return;
    }
    const { items } = offered;
    if (event.key === "ArrowDown") setChosen((chosen + 1) % items.length);
    else if (event.key === "ArrowUp") setChosen((chosen + items.length - 1) % items.length);
    else if (event.key === "Enter" || event.key === "Tab") take(items[chosen]!);
    else if (event.key === "Escape") setOffered(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div class="completed">
      <textarea
        id={id}
        ref={area}
        class="code"
        rows={rows}
        required
        spellcheck={false}
        autocomplete="off"
        aria-describedby={describedBy}
        aria-invalid={invalid || undefined}
        aria-autocomplete="list"
        aria-controls={offered ? `${id}-offered` : undefined}
        aria-activedescendant={offered ? `${id}-offered-${chosen}` : undefined}
        value={value}
        onInput={(event) => (onChange(event.currentTarget.value), look())}
        onKeyDown={onKeyDown}
        onClick={() => setOffered(null)}
        onBlur={() => setOffered(null)}
      />
      {offered && (
        <ul id={`${id}-offered`} class="offered" role="listbox" aria-label="How to go on">
          {offered.items.map((item, at) => (
            <li
              key={item.text}
              id={`${id}-offered-${at}`}
              role="option"
              aria-selected={at === chosen}
              // Before the field loses the focus, which closes the list.
              onMouseDown={(event) => (event.preventDefault(), take(item))}
            >
              <code>{item.text}</code> <span class="faint">{item.note}</span>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
