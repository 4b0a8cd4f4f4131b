package dev.limasandbox.testbed;

import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;

/**
 * What Go templates in lima.yaml can name: {@code {{.Name}}}, {@code {{.Dir}}}, {@code {{.User}}}, {@code {{.UID}}},
 * {@code {{.Param.KEY}}}, and {@code {{.Home}}}, which is another one in the guest than on the host.
 */
record Variables(Path directory, String user, int uid, String guestHome, Map<String, Object> param) {

    static Variables of(Path directory, Map<String, Object> yaml) {
        Map<String, Object> user = Maps.map(yaml, "user");
        String name = Maps.text(user, "name", Home.guestUser());
        String home = Maps.text(user, "home", "/home/{{.User}}.guest").replace("{{.User}}", name);
        Map<String, Object> param = new TreeMap<>();
        Maps.map(yaml, "param").forEach((key, value) -> param.put(key, String.valueOf(value)));
        return new Variables(directory, name, Maps.number(user, "uid", Home.uid()), home, param);
    }

    String inGuest(String text) {
        return expand(text, guestHome);
    }

    String onHost(String text) {
        return expand(text, Home.userHome().toString());
    }

    /** A template error is a warning, and the text is taken as it is: as Lima has it. */
    private String expand(String text, String home) {
        String name = directory.getFileName().toString();
        try {
            return GoTemplate.expand(
                    text,
                    Map.of(
                            "Name", name, "Hostname", Instance.hostname(name), "Dir", directory.toString(),
                            "Home", home, "User", user, "UID", uid, "Param", param, "GlobalTempDir", "/tmp",
                            "TempDir", System.getProperty("java.io.tmpdir")));
        } catch (IllegalArgumentException e) {
            String first = text.lines().findFirst().orElse("");
            Log.warn("Couldn't process `" + first + "` as a template: " + e.getMessage());
            return text;
        }
    }
}
