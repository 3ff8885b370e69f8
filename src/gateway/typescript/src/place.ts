import type { ServerMessage, Update } from "./messages.ts";

/** How often each update was heard. */
type Counts = Map<string, number>;

/**
 * Where a client stands: the position to resume from, so that nothing is missed and nothing comes twice.
 *
 * With one `subscribe` a connection this is the last position heard. Several are resumed one after the other, and only
 * the first is replayed with positions: until all are through, the place must not move, or what the others still miss
 * would be lost with the connection. What was delivered without having moved it is counted here. Should the connection
 * be lost before a position has passed it, it comes again, and is passed over as often as it was delivered.
 */
export class Place {
  #position: string | undefined;
  #catchUp: CatchUp | null = null;
  #isAnswered = false;
  /** Delivered since the position. */
  #ahead: Counts = new Map();

  constructor(position?: string) {
    this.#position = position;
  }

  get position(): string | undefined {
    return this.#position;
  }

  /** A connection is open, and so many `subscribe` go out on it. Whether a `ping` has to follow them. */
  begin(subscribes: number): boolean {
    this.#isAnswered = false;
    const catchesUp = this.#position !== undefined && (subscribes > 1 || this.#ahead.size > 0);
    this.#catchUp = catchesUp ? new CatchUp(subscribes, this.#ahead) : null;
    return catchesUp;
  }

  /** Notes what came. Whether it is new to the client. */
  take(message: ServerMessage): boolean {
    if (this.#catchUp) return this.#takeCatchingUp(this.#catchUp, message);
    if (message.type === "subscribed") {
      // The position of a later answer may be ahead of updates that still wait for this client.
      if (!this.#isAnswered) this.#position = message.position;
      this.#isAnswered = true;
    } else if (isUpdate(message) && message.position !== undefined) {
      this.#position = message.position;
      this.#ahead.clear();
    }
    return true;
  }

  #takeCatchingUp(catchUp: CatchUp, message: ServerMessage): boolean {
    if (isUpdate(message)) return catchUp.isNew(message);
    this.#isAnswered ||= message.type === "subscribed";
    if (catchUp.isOver(message)) {
      this.#position = catchUp.reached ?? this.#position;
      this.#ahead = catchUp.unplaced;
      this.#catchUp = null;
    }
    return true;
  }
}

/** Several subscriptions, or one after those were cut short, on their way back to the present. */
class CatchUp {
  /** Heard without a position: it may be ahead of the last position that was heard. */
  readonly unplaced: Counts = new Map();
  #last: string | undefined;
  /** Where the first answer stands, as long as nothing that was missed follows any of them. */
  #anew: string | undefined;
  #isResumed = false;
  #unanswered: number;
  readonly #ahead: Counts;
  /** Delivered over earlier connections, and not come over this one yet. */
  readonly #repeats: Counts;

  constructor(subscribes: number, ahead: Counts) {
    this.#unanswered = subscribes;
    this.#ahead = ahead;
    this.#repeats = new Map(ahead);
  }

  /** Where the client stands once all is through; undefined: where it stood. */
  get reached(): string | undefined {
    return this.#last ?? (this.#isResumed ? undefined : this.#anew);
  }

  isNew(update: Update): boolean {
    const { position, ...same } = update;
    const key = JSON.stringify(same);
    if (position === undefined) count(this.unplaced, key, 1);
    else this.#last = position;
    if (this.#repeats.has(key)) {
      count(this.#repeats, key, -1);
      return false;
    }
    count(this.#ahead, key, 1);
    return true;
  }

  /** Whether `message` shows that all is through: the heartbeat that comes after what waited when the ping came. */
  isOver(message: ServerMessage): boolean {
    if (message.type === "subscribed") {
      this.#unanswered -= 1;
      this.#isResumed ||= message.resumed === true;
      this.#anew ??= message.position;
    } else if (message.type === "error" && message.data.code !== "resume_unavailable") {
      // One that was refused, for its names may not be seen, has no other answer.
      this.#unanswered = 0;
    }
    return message.type === "heartbeat" && this.#unanswered <= 0;
  }
}

function count(counts: Counts, key: string, change: number): void {
  const next = (counts.get(key) ?? 0) + change;
  if (next > 0) counts.set(key, next);
  else counts.delete(key);
}

function isUpdate(message: ServerMessage): message is Update {
  return message.type.endsWith("_update") || message.type.endsWith("_alert");
}
