/** The newest `capacity` items, oldest first. Nothing on a page that stays open all day may grow without a bound. */
export class Ring<T> {
  #items: T[] = [];

  constructor(readonly capacity: number) {}

  push(item: T): void {
    this.#items.push(item);
    // Cut in larger pieces, so that a push stays cheap.
    if (this.#items.length > this.capacity * 1.25 + 8) this.#items = this.#items.slice(-this.capacity);
  }

  /** Replaces the newest item. */
  amend(item: T): void {
    this.#items[this.#items.length - 1] = item;
  }

  get last(): T | undefined {
    return this.#items.at(-1);
  }

  get items(): T[] {
    return this.#items.length > this.capacity ? this.#items.slice(-this.capacity) : this.#items;
  }
}
