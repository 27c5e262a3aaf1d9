// A page that was opened from a folder may start no worker. There a hidden frame takes its part: it runs the worker's script, and messages go to and fro.
if (location.protocol === 'file:') {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement('iframe')
      frame.hidden = true
      document.body.append(frame)
      const inner = frame.contentWindow
      inner.postMessage = data => this.dispatchEvent(new MessageEvent('message', {data}))     // the worker's own call
      const load = src => new Promise((done, failed) => {
        const script = inner.document.createElement('script')
        Object.assign(script, {src: new URL(src, document.baseURI), onload: done, onerror: failed, async: false})
        inner.document.body.append(script)
      })
      inner.importScripts = (...sources) => Promise.all(sources.map(load))
      this.ready = load(url)
      this.inner = inner
    }
    postMessage(data) { this.ready.then(() => this.inner.dispatchEvent(new this.inner.MessageEvent('message', {data}))) }
    terminate() { this.inner.frameElement.remove() }
  }
  window.Worker = window.IFrameWorker
}
