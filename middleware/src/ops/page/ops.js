"use strict";
new EventSource("events").addEventListener("now", (event) => {
  document.getElementById("now").textContent = JSON.stringify(JSON.parse(event.data), null, 1);
});
