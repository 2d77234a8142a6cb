"""Every command with its line in `minirun --help`, by topic; and what Docker has that minirun has not.

    name      ─▶ module minirun.cli.<module>, which has a click command of that name
    container ls, image rm, system info …   Docker's longer names, each for one of these
    system df …                             what has no shorter name: click calls it system-df

Only the module of the command that is wanted is imported.
"""

from __future__ import annotations

# topic → command → (module, line)
TOPICS: dict[str, dict[str, tuple[str, str]]] = {
    "Containers": {
        "run": ("run", "Run a command in a new container"),
        "create": ("run", "Create a container that does not run yet"),
        "start": ("start", "Run the command of containers that were created, or that ended"),
        "stop": ("stop", "Have containers end: a signal, and SIGKILL for those that do not"),
        "restart": ("stop", "Stop containers, and start them again"),
        "kill": ("stop", "Send a signal to containers"),
        "attach": ("attach", "Show what a container prints, and let it read what is typed"),
        "wait": ("stop", "Wait until containers have ended, and print their exit codes"),
        "pause": ("pause", "Have the processes of containers stand still"),
        "unpause": ("pause", "Let the processes of paused containers go on"),
        "exec": ("exec", "Run a command in a container that runs"),
        "logs": ("logs", "Show what a container printed, and what it prints"),
        "ps": ("ps", "List containers"),
        "stats": ("stats", "Show what containers use, again every second"),
        "top": ("top", "Show the processes of a container"),
        "cp": ("cp", "Copy files between a container and the host, or another container"),
        "diff": ("diff", "Show what a container changed since its image"),
        "port": ("port", "Show which ports of the host lead to a container"),
        "update": ("update", "Change the limits and restart policies of containers"),
        "rename": ("rename", "Give a container another name"),
        "rm": ("rm", "Remove containers"),
        "export": ("archive", "Write a container's root file system as a tar"),
    },
    "Images": {
        "commit": ("commit", "Make an image of what a container wrote"),
        "images": ("images", "List images"),
        "import": ("archive", "Make an image of a directory or a tar"),
        "load": ("load", "Store every image of an archive, with its names"),
        "save": ("save", "Write images to an archive or a directory"),
        "pull": ("pull", "Bring an image here from a registry"),
        "push": ("push", "Have a registry get an image"),
        "tag": ("commit", "Give an image another name"),
        "rmi": ("rm", "Take names from images, and remove those that have none left"),
        "history": ("images", "Show how an image came to be"),
    },
    "Registries": {
        "login": ("login", "Tell a registry who you are, and remember it"),
        "logout": ("logout", "Forget who you are to a registry"),
    },
    "All of it": {
        "inspect": ("inspect", "Show everything about containers, images and volumes as JSON"),
        "events": ("events", "Show what happens, as it happens"),
        "info": ("system", "Show what is stored, and what this host offers"),
        "doctor": ("doctor", "Try what containers need of this host, and say what to do"),
        "explain": ("explain", "Tell what keeps a container apart, and what changes that"),
        "why": ("why", "Tell why a container is told EPERM, and what lifts that"),
        "version": ("system", "Show the versions of minirun and of what it stands on"),
        "gc": ("system", "Finish what was cut short, and free layers that nothing uses"),
        "completion": ("completion", "Print the script that lets a shell complete commands and names"),
    },
}
COMMANDS = {name: entry for commands in TOPICS.values() for name, entry in commands.items()}
# what is in a group alone: group-name → (module, line)
GROUPED = {
    "container-prune": ("prune", "Remove all containers that do not run"),
    "image-diff": ("imagediff", "Show what differs between two images"),
    "image-mount": ("imagemount", "Mount images on the host, read-only, or list those"),
    "image-prune": ("prune", "Remove images without a name and without a container"),
    "image-squash": ("squash", "Make one layer of several of an image"),
    "image-tree": ("imagetree", "Draw layers as they lie on each other"),
    "image-unmount": ("imagemount", "Unmount images that were mounted"),
    "system-boot": ("unit", "Start the containers that start with the host"),
    "network-connect": ("networkconnect", "Connect a container to a network"),
    "network-create": ("network", "Make a network"),
    "network-disconnect": ("networkconnect", "Take a container off a network"),
    "network-inspect": ("network", "Show everything about networks as JSON"),
    "network-ls": ("network", "List networks"),
    "network-prune": ("prune", "Remove networks that no running container is on"),
    "network-rm": ("network", "Remove networks"),
    "system-check": ("check", "Look for damage and remains in the store"),
    "system-df": ("systemdf", "Show how much room images, containers and layers take"),
    "system-install-unit": ("unit", "Have systemd start and stop containers with the host"),
    "system-prune": ("prune", "Remove containers, images and remains that nobody needs"),
    "system-shutdown": ("unit", "Stop all containers as the host goes down"),
    "system-warm": ("warm", "Keep a process that starts containers sooner"),
    "volume-clone": ("volume", "Make a volume with the same in it"),
    "volume-create": ("volume", "Make a volume"),
    "volume-export": ("volume", "Write what is in a volume as a tar"),
    "volume-import": ("volume", "Put what is in a tar into a volume"),
    "volume-inspect": ("volume", "Show everything about volumes as JSON"),
    "volume-ls": ("volume", "List volumes"),
    "volume-prune": ("prune", "Remove anonymous volumes that no container has"),
    "volume-rm": ("volume", "Remove volumes"),
}

# Docker's groups → the names in them → the command, with the flags that it then has
GROUPS = {
    "container": {
        "attach": "attach", "commit": "commit", "cp": "cp", "create": "create", "diff": "diff", "exec": "exec",
        "export": "export", "inspect": "inspect --type=container", "kill": "kill", "list": "ps", "logs": "logs",
        "ls": "ps", "pause": "pause", "port": "port", "prune": "container-prune", "ps": "ps", "remove": "rm",
        "rename": "rename", "restart": "restart", "rm": "rm", "run": "run", "start": "start", "stats": "stats",
        "stop": "stop", "top": "top", "unpause": "unpause", "update": "update", "wait": "wait",
    },
    "image": {
        "diff": "image-diff", "history": "history", "import": "import", "inspect": "inspect --type=image",
        "list": "images", "load": "load", "ls": "images", "mount": "image-mount", "prune": "image-prune",
        "pull": "pull", "push": "push", "remove": "rmi", "rm": "rmi", "save": "save", "squash": "image-squash",
        "tag": "tag", "tree": "image-tree", "umount": "image-unmount", "unmount": "image-unmount",
    },
    "network": {
        "connect": "network-connect", "create": "network-create", "disconnect": "network-disconnect",
        "inspect": "network-inspect", "list": "network-ls", "ls": "network-ls", "prune": "network-prune",
        "remove": "network-rm", "rm": "network-rm",
    },
    "system": {
        "boot": "system-boot", "check": "system-check", "df": "system-df", "events": "events", "info": "info",
        "install-unit": "system-install-unit", "prune": "system-prune", "shutdown": "system-shutdown",
        "warm": "system-warm",
    },
    "volume": {
        "clone": "volume-clone", "create": "volume-create", "export": "volume-export", "import": "volume-import",
        "inspect": "volume-inspect", "list": "volume-ls", "ls": "volume-ls", "prune": "volume-prune",
        "remove": "volume-rm", "rm": "volume-rm",
    },
}  # fmt: skip

_BUILD = "run the steps in a container and `minirun commit` it"
# commands of Docker's that this version has not → what to do instead
NOT_BUILT = {
    "build": _BUILD,
    "builder": _BUILD,
    "buildx": _BUILD,
    "search": "",
}

# flags of Docker's `run` and `create` that this version has not
_FLAGS = """
    -a --annotation --attach
    --domainname --gpus --label-file
    --quiet --runtime
    --storage-opt --volume-driver
"""
FLAGS_NOT_BUILT = frozenset(_FLAGS.split())
# what Docker calls some of them, too, without a word of it in its help
FLAGS_ELSEWHERE = {"--dns-opt": "--dns-option", "--net": "--network", "--net-alias": "--network-alias"}
