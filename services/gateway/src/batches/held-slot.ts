/** A line's slots, which it can leave to others for a while. */
export class HeldSlot {
  readonly #take: () => Promise<() => void>;
  #release: () => void;

  private constructor(take: () => Promise<() => void>, release: () => void) {
    this.#take = take;
    this.#release = release;
  }

  /** @throws whatever `take` throws. */
  static async take(take: () => Promise<() => void>): Promise<HeldSlot> {
    return new HeldSlot(take, await take());
  }

  /** Gives the slots up until `pause` is over, then stands in line for them again. @throws whatever `take` or `pause` throws. */
  async leaveFor(pause: () => Promise<void>): Promise<void> {
    this.#release();
    await pause();
    this.#release = await this.#take();
  }

  release(): void {
    this.#release();
  }
}
