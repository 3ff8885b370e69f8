import { useState } from "preact/hooks";
import { logIn, loginWanted } from "../session.ts";

/** Asks for a token. It is kept for this tab and sent in a header; nothing else is known about the reader. */
export function Login() {
  const [text, setText] = useState("");
  const [fault, setFault] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    const given = text.trim().replace(/^Bearer\s+/i, "");
    if (!/^[\w-]+\.[\w-]+\.[\w-]*$/.test(given)) {
      setFault("This is not a token: three parts with dots between them are expected.");
      return;
    }
    logIn(given);
  };
  return (
    <form class="login panel" onSubmit={submit}>
      <h1>Log in</h1>
      <p>{loginWanted.value || "This server asks for a token (JWT)."}</p>
      <label for="token">Token</label>
      <input
        id="token"
        type="password"
        autocomplete="off"
        spellcheck={false}
        value={text}
        onInput={(event) => (setText(event.currentTarget.value), setFault(""))}
        aria-invalid={fault ? true : undefined}
        aria-describedby="token-help"
        autofocus
      />
      <p id="token-help" class={fault ? "fault" : "faint"} role={fault ? "alert" : undefined}>
        {fault || "It stays in this tab and is forgotten when the tab is closed."}
      </p>
      <button type="submit" class="primary" disabled={!text.trim()}>
        Log in
      </button>
    </form>
  );
}
