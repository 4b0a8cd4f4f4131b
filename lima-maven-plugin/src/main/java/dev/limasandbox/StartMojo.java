package dev.limasandbox;

import org.apache.maven.plugin.MojoExecutionException;
import org.apache.maven.plugins.annotations.LifecyclePhase;
import org.apache.maven.plugins.annotations.Mojo;

/** Makes the project's sandbox, or starts it; one that runs stays as it is. */
@Mojo(name = "start", defaultPhase = LifecyclePhase.PRE_INTEGRATION_TEST, requiresProject = false, threadSafe = true)
class StartMojo extends LimaMojo {
    @Override
    void work() throws MojoExecutionException {
        ensured(true);
    }
}
