setenv SINGULARITY_DOCKER_USERNAME '_json_key'
setenv SINGULARITY_DOCKER_PASSWORD '{"type": "service_account",\
 "k": "a\nb c"}'
setenv APPTAINER_DOCKER_USERNAME '_json_key'
setenv APPTAINER_DOCKER_PASSWORD '{"type": "service_account",\
 "k": "a\nb c"}'
